"""The gateway's OpenAPI document, completed by the documents of the services it passes calls on to."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

Document = dict[str, Any]
# Where a call has another path in the upstream's document.
UPSTREAM_PATHS = {"/api/currentUser": "/user/{id}"}


def completed(own: Document, upstreams: Iterable[Document], paths: Iterable[str]) -> Document:
    """Return the gateway's document with all that its upstreams say of these paths, which it passes on.

    Parameters, bodies and answers come from the upstream, without the headers and path parameters that the gateway
    sends. Where both have a schema of one name, the gateway's is the public one.
    Raises AttributeError, KeyError or TypeError when an upstream's document is no OpenAPI document.
    """
    document = deepcopy(own)
    theirs = {path: operations for upstream in upstreams for path, operations in upstream["paths"].items()}
    for path in paths:
        operations = document["paths"].setdefault(path, {})
        for method, operation in theirs[UPSTREAM_PATHS.get(path, path)].items():
            parameters = [each for each in operation.get("parameters", ()) if _is_public(each)]
            operations.setdefault(method, {}).update({**operation, "tags": ["todolist"], "parameters": parameters})
    schemas = {name: schema for each in upstreams for name, schema in each["components"]["schemas"].items()}
    document["components"]["schemas"] = {**schemas, **document["components"]["schemas"]}
    return document


def _is_public(parameter: Document) -> bool:
    return bool(parameter["in"] == "query" or parameter["name"] == "idempotency-key")
