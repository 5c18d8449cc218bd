"""The base of all request and response models: snake_case in Python, camelCase in JSON."""

from pydantic import BaseModel
from pydantic.alias_generators import to_camel


class CamelModel(BaseModel, alias_generator=to_camel, validate_by_name=True):
    """A request or response model with camelCase names in JSON."""
