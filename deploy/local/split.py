"""The split of user in `make run`: the weights in the routes that Envoy watches. For split.sh and status.sh.

`python -m deploy.local.split` prints the weights, and with two numbers changes them.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from deploy.local import files

ROUTES = Path("data/envoy/user-routes.yaml")
NAMES = ("user-v1", "user-v2")


def weights(node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    """Yield the name and the weight of each version of user in routes, in their order."""
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from weights(each)
    elif isinstance(node, yaml.MappingNode):
        fields = {key.value: value for key, value in node.value}
        if "weight" in fields and fields["name"].value in NAMES:
            yield fields["name"].value, fields["weight"]
        for value in fields.values():
            yield from weights(value)


def with_weights(routes: str, *shares: int | str) -> str:
    """Return routes in which v1 and v2 have these shares, in percent, wherever there are weights.

    Only the numbers change: learners read the comments.
    """
    for name, weight in reversed(list(weights(yaml.compose(routes)))):
        share = shares[NAMES.index(name)]
        routes = f"{routes[: weight.start_mark.index]}{share}{routes[weight.end_mark.index :]}"
    return routes


def main(*shares: str) -> None:
    """Print the split, or change it. Exits with 1 if there are no weights to change."""
    routes = ROUTES.read_text(encoding="utf-8")
    found = list(weights(yaml.compose(routes)))
    if not shares:
        for name, weight in found[:2]:
            print(f"  {name.removeprefix('user-')} {weight.value} %")
    elif found:
        files.replace(ROUTES, with_weights(routes, *shares))
    else:
        sys.exit(f"{ROUTES} has no weights: a lesson or riddle has routes of its own. `make lesson-reset` ends it.")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as failure:
        sys.exit(files.unwritable(failure))
