"""Merges the OpenAPI documents of the upstreams into the gateway's own."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

Document = dict[str, Any]
# Paths that differ in the upstream's document.
UPSTREAM_PATHS = {"/api/currentUser": "/user/{id}"}


def completed(own: Document, upstreams: Iterable[Document], paths: Iterable[str]) -> Document:
    """Return the gateway's document with the upstreams' operations on these paths.

    Parameters, bodies and responses come from the upstream, without the headers and path parameters that the gateway
    sends. If both have a schema of the same name, the gateway's is used.
    Raises AttributeError, KeyError or TypeError if an upstream's document is not an OpenAPI document.
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
