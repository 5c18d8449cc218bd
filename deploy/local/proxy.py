"""Renders Envoy's configuration from the templates in `envoy/`, and replaces files of it at run time.

Envoy is started with bootstrap.yaml and watches all other files: a replaced file is applied at once. `make split`
replaces the weights in one, a lesson whole files. The templates are plain Envoy configuration, except for placeholders
such as `$PORT`: the folder, and the addresses in DEFAULTS.

`python -m deploy.local.proxy FOLDER` renders the files, with the addresses from the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

from deploy.local import files

TEMPLATES = Path(__file__).parent / "envoy"
# The rendered files of `make run`.
CONFIGURATION = Path("data/envoy")
# The ingress as a TLS server, for lesson 19 and for `TLS=1 make run`.
HTTPS = Path(__file__).parents[2] / "lessons/19-https/envoy.yaml"

# Envoy's ports: the ingress, todolist's calls to user and to rule, rule's events, and the admin page.
ENVOY_PORTS = {"PORT": 3001, "USER_PORT": 3002, "RULE_PORT": 3000, "EVENTS_PORT": 3003, "ENVOY_ADMIN_PORT": 15000}
# The services' ports.
SERVICE_PORTS = {"TODOLIST_V1_PORT": 3011, "USER_V1_PORT": 3012, "USER_V2_PORT": 3022, "RULE_V1_PORT": 3010}
HOSTS = ("LISTEN_HOST", "TODOLIST_V1_HOST", "USER_V1_HOST", "USER_V2_HOST", "RULE_V1_HOST")
DEFAULTS: dict[str, str | int] = {**ENVOY_PORTS, **SERVICE_PORTS, **dict.fromkeys(HOSTS, "127.0.0.1")}


def template(name: str, folder: Path, settings: Mapping[str, str | int]) -> str:
    """Return a rendered template. settings: SLEEP, TLS, and values in place of DEFAULTS."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    if settings.get("SLEEP"):
        # As long as the whole timeout: a retry would only wait for the same cold start.
        text = text.replace("per_try_timeout: 2s", "per_try_timeout: 8s")
    if settings.get("TLS") and name == "listeners.yaml":
        # Here, as the container of compose.yaml that renders these files has no YAML library.
        from deploy.local import resources

        text = resources.with_resource(text, resources.split(HTTPS.read_text(encoding="utf-8"))[1][0])
    return Template(text).substitute({**DEFAULTS, **settings, "FOLDER": folder})


def write_all(folder: Path, settings: Mapping[str, str | int]) -> None:
    """Render all files, and remove those of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_others(folder)
    for path in TEMPLATES.glob("*.yaml"):
        files.replace(folder / path.name, template(path.name, folder, settings))


def remove_others(folder: Path) -> None:
    """Remove files without a template: those of a lesson, the sockets of its listeners, and incomplete files."""
    for path in folder.iterdir():
        if not (TEMPLATES / path.name).exists() and not path.is_dir():
            path.unlink()


def serves_https() -> bool:
    """Return whether the ingress of `make run` is a TLS server."""
    path = CONFIGURATION / "listeners.yaml"
    return path.exists() and "transport_protocol: tls" in path.read_text(encoding="utf-8")


def lesson() -> str | None:
    """Return the name of the active lesson, from the header that the ingress adds, or None."""
    import yaml

    path = CONFIGURATION / "lesson-filter.yaml"
    if not path.exists():
        return None
    (filter_,) = yaml.safe_load(path.read_text(encoding="utf-8"))["resources"]
    mutations = filter_["typed_config"]["mutations"].get("response_mutations", [])
    return next((mutation["append"]["header"]["value"] for mutation in mutations), None)


def is_riddle(name: str | None) -> bool:
    """Return whether this is the name of a riddle."""
    return bool(name and name.startswith("riddle-"))


def called(name: str | None) -> str:
    """Return the displayed name of a lesson or a riddle, such as "Lesson 01-split" and "Riddle 7"."""
    return f"Riddle {int(name.removeprefix('riddle-'))}" if name and is_riddle(name) else f"Lesson {name}"


def arguments(folder: Path) -> list[str]:
    """Return the command-line arguments of Envoy."""
    return [
        *("--config-path", str(folder / "bootstrap.yaml")),
        # One thread: the services need the other cores.
        *("--concurrency", "1"),
        "--disable-hot-restart",
        # Envoy logs rejected files as warnings.
        *("--log-level", "warning"),
        # Unknown fields are errors.
        "--reject-unknown-dynamic-fields",
        # Seconds after which the connections of a replaced listener are closed.
        *("--drain-time-s", "20"),
    ]


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), {name: os.environ[name] for name in DEFAULTS if name in os.environ})
