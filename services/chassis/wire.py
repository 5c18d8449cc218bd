"""The one rule for names: snake_case in Python, camelCase on the wire."""

from pydantic import BaseModel
from pydantic.alias_generators import to_camel


class Wire(BaseModel, alias_generator=to_camel, validate_by_name=True):
    """A body as it is sent or received."""
