"""Parses incoming CloudEvents. Imported with the first one, as the SDK would delay a cold start."""

from collections.abc import Mapping
from typing import Any, get_args

from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import REQUIRED_ATTRIBUTES, CloudEvent

from services.chassis.problems import Problem
from services.user.schemas import EventType, ItemEvent


def parse(headers: Mapping[str, str], body: bytes) -> ItemEvent | None:
    """Return the event of a request in binary or structured mode, or None if its type is unknown.

    Raises a Problem for an invalid CloudEvent, or for data that does not match its type.
    """
    try:
        event = from_http(HTTPMessage(dict(headers), body), JSONFormat(), _complete)
        if event.get_type() not in get_args(EventType):
            return None
        return ItemEvent.model_validate({**event.get_attributes(), "data": event.get_data()})
    # Any: for invalid input, such as a body that is not a JSON object, the SDK raises what its code happens to raise.
    except Exception as error:
        raise Problem(400, f"This is no CloudEvent 1.0 that can be used: {error}") from None


def _complete(attributes: dict[str, Any], data: Any) -> CloudEvent:
    # The SDK generates a missing id, and a different one when the event is delivered again.
    if missing := [name for name in REQUIRED_ATTRIBUTES if name not in attributes]:
        raise ValueError(f"{missing[0]} is missing.")
    return CloudEvent(attributes, data)
