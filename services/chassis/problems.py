"""Errors as problem details (RFC 9457): one exception, one body, one media type."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from services.chassis.tracing import trace_id

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - RFC 9457's name
    """An answer that is an error.

    status: the HTTP status code; detail: one sentence for a person; headers: sent with the answer;
    members: further members of the body (RFC 9457, section 3.2).
    """

    def __init__(self, status: int, detail: str, /, *, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.members = status, detail, headers, members

    def body(self) -> bytes:
        """Return the JSON body."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        if trace := trace_id():
            body["traceId"] = trace
        return orjson.dumps(body)

    def response(self) -> Response:
        """Return the whole answer."""
        return Response(self.body(), self.status, self.headers, MEDIA_TYPE)


NOT_ARRIVED = Problem(408, "The request did not arrive in time.")


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """A problem as it is on the wire, for the OpenAPI documents."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str
    traceId: str | None = None  # noqa: N815 - camelCase on the wire
    errors: list[FieldError] | None = None


def documented(*statuses: int, model: type[BaseModel] = ProblemDetails) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` argument of a route that can answer these problems."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "model": model,
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": f"#/components/schemas/{model.__name__}"},
                    "example": {
                        "type": "about:blank",
                        "title": HTTPStatus(status).phrase,
                        "status": status,
                        "detail": "What went wrong, in a sentence.",
                    },
                }
            },
        }
        for status in statuses
    }


def invalid(errors: Sequence[Any]) -> Problem:
    """Return the 422 for the errors that Pydantic lists, each with its field."""
    fields = [
        {
            "field": ".".join(str(part) for part in error["loc"] if part not in ("body", "query")) or "body",
            "message": error["msg"].removeprefix("Value error, "),
        }
        for error in errors
    ]
    return Problem(422, "Some fields are not valid.", errors=fields)


def add_handlers(app: FastAPI) -> None:
    """Make every error of the application a problem answer."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Each method is a route of its own, and the framework names that of the first one only.
            operations = app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", ""), ())
            headers["Allow"] = ", ".join(sorted(map(str.upper, operations))) or headers["Allow"]
        details = {
            404: "There is nothing at this address.",
            405: "This address does not take this method.",
            413: "The body is larger than this service takes.",
        }
        return Problem(error.status_code, details.get(error.status_code, str(error.detail)), headers=headers).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        # Nobody reads this: the caller left, or was sent away, before the body had arrived.
        return NOT_ARRIVED.response()

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> Response:
        return Problem(500, "The service failed; the log has the reason.").response()

    @app.exception_handler(RequestValidationError)
    async def validation(_: Request, error: RequestValidationError) -> Response:
        return invalid(error.errors()).response()
