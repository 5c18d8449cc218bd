"""The gateway's OpenAPI document, completed by the documents of the services it passes calls on to."""

from copy import deepcopy
from typing import Any

Document = dict[str, Any]


def completed(own: Document, upstream: Document) -> Document:
    """Return the gateway's document with all that one of its upstreams says of the calls it passes on.

    Parameters, bodies and answers come from the upstream, without the headers that only the gateway
    may send; the gateway's own answers are added. Its own schemas replace upstream ones of the same name.
    Raises AttributeError, KeyError or TypeError when the upstream's document is none.
    """
    document = deepcopy(own)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            theirs = upstream["paths"].get(path, {}).get(method)
            if theirs and "health" not in theirs.get("tags", ()):
                operation.update(_public(theirs), responses={**operation["responses"], **theirs["responses"]})
    document["components"]["schemas"] = {**upstream["components"]["schemas"], **document["components"]["schemas"]}
    return document


def _public(operation: Document) -> Document:
    """Return what an upstream's operation takes from outside."""
    public: Document = {name: operation[name] for name in ("requestBody", "parameters") if name in operation}
    if "parameters" in public:
        public["parameters"] = [each for each in public["parameters"] if each["in"] != "header"]
    return public
