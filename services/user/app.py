"""The user service: accounts, profiles and session tokens, in the variants v1 and v2."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi import Path as Parameter
from pydantic import ValidationError

from services.chassis.application import create_app as create_chassis_app
from services.chassis.caller import GUEST, KNOWN_DEVICE, PARAMETERS, Caller
from services.chassis.database import Database
from services.chassis.problems import Problem, documented
from services.chassis.routing import DirectRoute
from services.user import store
from services.user.passwords import Passwords
from services.user.profiles import profile
from services.user.schemas import Account, Authority, Credentials, LoggedIn, LoginRefused, Profile, Registration
from services.user.settings import Settings
from services.user.tokens import Tokens

ADMIN: Authority = "admin"
WRITE_ERRORS = documented(403, 413, 415, 422, 503, 507)
# What can be done with the name and the password of a new account.
LINKS: dict[int | str, dict[str, Any]] = {
    201: {
        "links": {
            "login": {
                "operationRef": "#/paths/~1api~1login~1account/post",
                "requestBody": {field: f"$request.body#/{field}" for field in ("userName", "password")},
            }
        }
    }
}

router = APIRouter(route_class=DirectRoute, tags=["user"])


@dataclass(frozen=True)
class State:
    """What the routes work with."""

    settings: Settings
    database: Database
    passwords: Passwords
    tokens: Tokens

    @classmethod
    def of(cls, request: Request) -> "State":
        """Return the state of the application that serves the request."""
        state: State = request.app.state.user
        return state

    def logged_in(self, account: store.AccountRow, type: str = "") -> dict[str, Any]:
        """Return the answer that starts a session."""
        return {"status": "ok", "type": type, "currentAuthority": account.authority, **self.tokens.issue(account)}


# Before the route of a profile, whose path this one would match too.
@router.post(
    "/user/register",
    status_code=201,
    response_model=LoggedIn,
    responses={**WRITE_ERRORS, **documented(409), **LINKS},
)
async def register(request: Request, registration: Registration) -> Response:
    """Create an account and log it in."""
    state = State.of(request)
    taken = Problem(409, "This name is taken.")
    if await store.find_by_name(state.database, registration.userName):
        raise taken
    with state.passwords.place():
        password_hash = await state.passwords.hash(registration.password)
    account = await store.create(state.database, registration.userName, password_hash, "user")
    if account is None:
        raise taken
    return _json(state.logged_in(account), 201)


@router.get("/user/{id}", response_model=Profile, responses=documented(404, 503))
async def read_profile(request: Request, id: Annotated[str, Parameter(examples=[GUEST])]) -> Response:
    """Return the profile of an account, or of the guest."""
    state = State.of(request)
    variant = state.settings.version
    if id == GUEST:
        return _json(profile(variant))
    account = await store.find_by_id(state.database, id)
    if account is None:
        raise Problem(404, "There is no such account.")
    return _json(profile(variant, user_id=account.id, name=account.name, authority=account.authority))


@router.get(
    "/api/users",
    response_model=list[Account],
    responses=documented(401, 403, 503),
    openapi_extra={"parameters": PARAMETERS},
)
async def list_accounts(request: Request) -> Response:
    """Return the accounts, to an administrator."""
    database = State.of(request).database
    caller = Caller.of(request)
    account = await store.find_by_id(database, caller.id) if caller.id != GUEST else None
    if account is None:
        raise Problem(401, "Log in first.")
    if account.authority != ADMIN:
        raise Problem(403, "Only administrators may see the accounts.")
    rows = await store.all_accounts(database)
    return _json([{"key": row.id, "name": row.name, "authority": row.authority} for row in rows])


@router.post(
    "/api/login/account",
    response_model=LoggedIn,
    responses={**WRITE_ERRORS, **documented(401, model=LoginRefused), **documented(429)},
)
async def log_in(request: Request, credentials: Credentials) -> Response:
    """Return a token for a right name and password."""
    refused = {"status": "error", "type": credentials.type, "currentAuthority": GUEST}
    wrong = Problem(401, "The name or the password is wrong.", headers=None, **refused)
    try:
        name = Registration(userName=credentials.userName, password=credentials.password).userName
    except ValidationError:
        # No account can have these.
        raise wrong from None
    state = State.of(request)
    # A known device is counted by itself: whoever guesses elsewhere cannot lock its owner out.
    counted = state.tokens.device_id(request.headers.get(KNOWN_DEVICE, ""), name) or name
    # First a place: an attempt is not counted if there is no room to look at its password.
    with state.passwords.place():
        count, ends_at = await store.count_login_attempt(
            state.database, counted, timedelta(seconds=state.settings.login_window)
        )
        if count > state.settings.login_attempts:
            seconds = max(1, int((ends_at - datetime.now(UTC)).total_seconds()))
            raise Problem(
                429, "Too many wrong passwords for this name; try again later.", headers={"Retry-After": str(seconds)}
            )
        account = await store.find_by_name(state.database, name)
        matches = await state.passwords.matches(account.password_hash if account else None, credentials.password)
    if account is None or not matches:
        raise wrong
    await store.forget_login_attempts(state.database, counted)
    return _json(state.logged_in(account, credentials.type))


@router.get(
    "/.well-known/jwks.json", responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}}
)
async def key_set(request: Request) -> Response:
    """Return the public key of the tokens as a JSON Web Key Set (RFC 7517)."""
    return _json(State.of(request).tokens.jwks)


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Raises ValueError when the key of the tokens cannot be used."""
    database = Database(settings, Path(__file__).parent / "migrations")
    state = State(settings, database, Passwords(), Tokens(settings))

    async def create_admin() -> None:
        if settings.admin_password and not await store.find_by_name(database, ADMIN):
            password_hash = await state.passwords.hash(settings.admin_password.get_secret_value())
            await store.create(database, ADMIN, password_hash, ADMIN)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await database.start(create_admin)
        yield
        await database.stop()

    app = create_chassis_app(
        service="user",
        description="Accounts, profiles and session tokens.",
        routes=router.routes,
        settings=settings,
        lifespan=lifespan,
        ready=database.ready,
    )
    app.state.user = state
    return app


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
