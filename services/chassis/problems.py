"""Errors as problem details (RFC 9457): one exception, one body, one media type."""

from http import HTTPStatus
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from services.chassis.camel import CamelModel
from services.chassis.tracing import trace_id

MEDIA_TYPE = "application/problem+json"


class Problem(HTTPException):
    """An error response.

    status: the HTTP status code; detail: one readable sentence; headers: of the response;
    members: further members of the body (RFC 9457, section 3.2).
    """

    def __init__(self, status: int, detail: str, /, *, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(status, detail, headers)
        self.members = members


class ProblemDetails(CamelModel, extra="allow"):
    """The response model of every error."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str
    trace_id: str | None = None
    errors: list[dict[Literal["field", "message"], str]] | None = None


def documented(*statuses: int | str, model: type[BaseModel] = ProblemDetails) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` argument for these errors ("4XX" stands for 400 to 499)."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    return {status: {"description": "Problem details", "model": model, "content": content} for status in statuses}


PROBLEMS = documented("4XX", "5XX")


def problem_response(error: HTTPException) -> JSONResponse:
    """Return an error as a response with problem details."""
    status = HTTPStatus(error.status_code)
    body = {"type": "about:blank", "title": status.phrase, "status": status, "detail": error.detail}
    body |= getattr(error, "members", {})
    if trace := trace_id():
        body["traceId"] = trace
    return JSONResponse(body, status, error.headers, MEDIA_TYPE)


async def _answer_error(request: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Each method is a separate route, and the framework's Allow header names only that of the first one.
        path = getattr(request.scope.get("route"), "path", "")
        routes = (route for route in request.app.routes if getattr(route, "path", None) == path)
        methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
        methods |= {"OPTIONS", *(error.headers or {}).get("Allow", "OPTIONS").split(", ")}
        allow = {"Allow": ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))}
        if request.method == "OPTIONS":
            return Response(None, 204, allow)
        error = Problem(405, "This path does not support this method, but those in the header Allow.", headers=allow)
    elif error.status_code == HTTPStatus.BAD_REQUEST and not isinstance(error, Problem):
        # FastAPI's error for a body that it could not parse.
        error = Problem(400, "The body cannot be read: it must be JSON in UTF-8.")
    return problem_response(error)


async def _answer_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    errors = [
        {"field": _field(each, error.body), "message": each["msg"].removeprefix("Value error, ")}
        for each in error.errors()
    ]
    return problem_response(Problem(422, "Some fields are not valid.", errors=errors))


def _field(error: Any, body: Any) -> str:
    """Return the JSON name of the field of an error, or "body" or "query" if the error is about all of it."""
    whole, *path = error["loc"]
    if whole == "body":
        path = _without_branches(path, body, error["type"])
    return ".".join(map(str, path)) or str(whole)


def _without_branches(path: list[Any], body: Any, type: str) -> list[Any]:
    """Return the path of an error without parts that are no member of the body, such as the branch of a union."""
    members = []
    for part in path:
        is_member = part in body if isinstance(body, dict) else isinstance(body, list) and isinstance(part, int)
        if is_member:
            body = body[part]
        if is_member or type == "missing":
            members.append(part)
    return members


async def _leave_to_edge(_: Request, error: Exception) -> Response:
    # Otherwise Starlette would respond in plain text before Edge can.
    raise error


# The `exception_handlers` of an application: every error becomes problem details.
HANDLERS: Any = {HTTPException: _answer_error, RequestValidationError: _answer_invalid, Exception: _leave_to_edge}
