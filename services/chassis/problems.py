"""Errors as problem details (RFC 9457): one exception, one body, one media type."""

from http import HTTPStatus
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from services.chassis.tracing import trace_id
from services.chassis.wire import Wire

MEDIA_TYPE = "application/problem+json"


class Problem(HTTPException):
    """An answer that is an error.

    status: the HTTP status code; detail: one sentence for a person; headers: sent with the answer;
    members: further members of the body (RFC 9457, section 3.2).
    """

    def __init__(self, status: int, detail: str, /, *, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(status, detail, headers)
        self.members = members


class ProblemDetails(Wire, extra="allow"):
    """The body of every error, as the OpenAPI documents show it."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str
    trace_id: str | None = None
    errors: list[dict[Literal["field", "message"], str]] | None = None


def documented(*statuses: int | str, model: type[BaseModel] = ProblemDetails) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` argument of FastAPI for these errors ("4XX" stands for all from 400 to 499)."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    return {status: {"description": "Problem details", "model": model, "content": content} for status in statuses}


PROBLEMS = documented("4XX", "5XX")


def problem_response(error: HTTPException) -> JSONResponse:
    """Return the answer that tells the caller of this error."""
    status = HTTPStatus(error.status_code)
    body = {"type": "about:blank", "title": status.phrase, "status": status, "detail": error.detail}
    body |= getattr(error, "members", {})
    if trace := trace_id():
        body["traceId"] = trace
    return JSONResponse(body, status, error.headers, MEDIA_TYPE)


async def _answer_error(request: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Each method is a route of its own, and the framework names that of the first one only.
        routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
        methods = {method for route in routes for method in route.methods or ()}
        allow = {"Allow": ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))}
        if request.method == "OPTIONS":
            return Response(None, 204, allow)
        error = Problem(
            405, "This address does not take this method; the header Allow names those it does.", headers=allow
        )
    return problem_response(error)


async def _answer_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    errors = [
        {
            # The first part of the place is the body or the query; broken JSON has no name after it, only a position.
            "field": ".".join(map(str, () if each["type"] == "json_invalid" else each["loc"][1:])) or each["loc"][0],
            "message": each["msg"].removeprefix("Value error, "),
        }
        for each in error.errors()
    ]
    return problem_response(Problem(422, "Some fields are not valid.", errors=errors))


# The `exception_handlers` of an application whose errors are all problems.
HANDLERS: Any = {HTTPException: _answer_error, RequestValidationError: _answer_invalid}
