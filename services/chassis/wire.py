"""The one rule for names: snake_case in Python, camelCase on the wire."""

from pydantic import BaseModel
from pydantic.alias_generators import to_camel


class Wire(BaseModel, alias_generator=to_camel, validate_by_name=True, defer_build=False):
    """A body as it is sent or received; built at start, unlike other models (start.py)."""
