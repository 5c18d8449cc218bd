"""Envoy's resources in a file: which they are, and files in which one takes the place of another.

Learners read these files, so their comments stay: the parser says where each resource begins, and its text is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import yaml


class Resource(NamedTuple):
    """A resource of Envoy. kind: the last part of its type, such as Cluster; text: with the comment above it."""

    kind: str
    name: str
    text: str


def split(text: str) -> tuple[str, list[Resource]]:
    """Return what stands above the resources of a file, and the resources."""
    lines, found = text.splitlines(keepends=True), []
    end = len(lines)
    for item in reversed(yaml.compose(text).value[0][1].value if text else []):
        fields = {key.value: value.value for key, value in item.value}
        begin = item.start_mark.line
        while lines[begin - 1].lstrip().startswith("#"):
            begin -= 1
        kind = fields["@type"].rpartition(".")[2]
        found.append(Resource(kind, fields["name"], "".join(lines[begin:end]).rstrip("\n")))
        end = begin
    return "".join(lines[:end]), found[::-1]


def with_resource(text: str, resource: Resource) -> str:
    """Return a file in which this resource takes the place of the one with its name, or stands at the end."""
    head, others = split(text)
    by_name = {other.name: other for other in others} | {resource.name: resource}
    return head + "\n\n".join(other.text for other in by_name.values()) + "\n"
