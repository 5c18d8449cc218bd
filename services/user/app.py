"""The user service: accounts, profiles and session tokens, in the versions v1 and v2."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Request
from pydantic import ValidationError

from services.chassis.application import create_app as create_chassis_app
from services.chassis.application import from_state, served_by
from services.chassis.caller import GUEST, CallerDep
from services.chassis.database import Database, DatabaseDep
from services.chassis.problems import PROBLEMS, Problem, documented
from services.user import store
from services.user.names import comparable
from services.user.notices import Notices, NoticesDep
from services.user.passwords import Passwords
from services.user.profiles import Profiles, notice
from services.user.schemas import (
    EVENT,
    Account,
    AccountLogin,
    Authority,
    Credentials,
    LoggedIn,
    LoginRefused,
    Notice,
    NoticesRead,
    Profile,
    Registration,
)
from services.user.settings import Settings
from services.user.tokens import Tokens

ADMIN: Authority = "admin"

SettingsDep = Annotated[Settings, from_state("settings")]
PasswordsDep = Annotated[Passwords, from_state("passwords")]
TokensDep = Annotated[Tokens, from_state("tokens")]

router = APIRouter(tags=["user"], responses=PROBLEMS)


@router.post("/user/register", status_code=201)
async def register(
    registration: Registration, database: DatabaseDep, passwords: PasswordsDep, tokens: TokensDep
) -> LoggedIn:
    """Create an account and log it in."""
    taken = Problem(409, "This name is taken.")
    if await database.read(store.find_by_name, registration.user_name):
        raise taken
    with passwords.slot():
        password_hash = await passwords.hash(registration.password)
    account = await database.write(store.create, registration.user_name, password_hash, "user")
    if account is None:
        raise taken
    return tokens.issue(account)


@router.get("/user/{id}")
async def read_profile(id: str, request: Request) -> Profile:
    """Return the profile of an account, or of the guest, as the version of this process shows it."""
    # Not a dependency: it would take a tenth of the CPU time of this request, which is the most frequent one.
    profiles: Profiles = request.app.state.profiles
    return await profiles.read(id)


@router.get("/api/notices")
async def list_notices(caller: CallerDep, database: DatabaseDep) -> list[Notice]:
    """Return the caller's newest 20 notices, newest first."""
    return [notice(row) for row in await database.read(store.newest_notices, caller.id)]


@router.put("/api/notices", status_code=204)
async def mark_notices_read(_: NoticesRead, caller: CallerDep, notices: NoticesDep) -> None:
    """Mark the caller's notices as read: the newest 10,000, as many as are counted."""
    await notices.mark_read(caller.id)


@router.post(
    "/events",
    status_code=204,
    openapi_extra={"requestBody": {"required": True, "content": {"application/cloudevents+json": {"schema": EVENT}}}},
)
async def receive_event(request: Request, notices: NoticesDep) -> None:
    """Take a CloudEvent, in binary or in structured mode: an item was created, done, reopened or deleted.

    Idempotent: a repeated event has no effect. Other types are ignored.
    """
    from services.user.events import parse

    if event := parse(request.headers, await request.body()):
        await notices.record(event)


@router.get("/api/users")
async def list_accounts(caller: CallerDep, database: DatabaseDep) -> list[Account]:
    """Return the accounts, to an administrator."""
    account = await database.read(store.find_by_id, caller.id) if caller.id != GUEST else None
    if account is None:
        raise Problem(401, "Log in first.")
    if account["authority"] != ADMIN:
        raise Problem(403, "Only administrators may see the accounts.")
    return [Account.model_validate(row) for row in await database.read(store.all_accounts)]


@router.post("/api/login/account", responses=documented(401, model=LoginRefused))
async def log_in(
    credentials: Credentials,
    settings: SettingsDep,
    database: DatabaseDep,
    passwords: PasswordsDep,
    tokens: TokensDep,
    x_known_device: Annotated[str, Header(description="The device's token from an earlier login")] = "",
) -> LoggedIn:
    """Return a token for a valid name and password."""
    refused = {"status": "error", "type": credentials.type, "currentAuthority": GUEST}
    wrong = Problem(401, "The name or the password is wrong.", headers=None, **refused)
    try:
        name = AccountLogin(user_name=credentials.user_name, password=credentials.password).user_name
    except ValidationError:
        # No account can have such a name or password.
        raise wrong from None
    # A known device is counted separately: failed attempts elsewhere cannot lock its owner out.
    counted = tokens.device_id(x_known_device, name) or comparable(name)[:50]
    # The slot first: an attempt is not counted if its password cannot be checked now.
    with passwords.slot():
        # Two transactions: one for both would lock rows in an order that can deadlock.
        await database.write(store.forget_old_login_attempts)
        window = timedelta(seconds=settings.login_window)
        count, ends_at = await database.write(store.count_login_attempt, counted, window)
        if count > settings.login_attempts:
            seconds = max(1, int((ends_at - datetime.now(UTC)).total_seconds()))
            raise Problem(429, "Too many wrong passwords for this name.", headers={"Retry-After": str(seconds)})
        account = await database.read(store.find_by_name, name)
        matches = await passwords.matches(account["password_hash"] if account else None, credentials.password)
    if account is None or not matches:
        raise wrong
    await database.write(store.forget_login_attempts, counted)
    return tokens.issue(account, credentials.type)


@router.get("/.well-known/jwks.json")
async def key_set(tokens: TokensDep) -> dict[str, Any]:
    """Return the public key of the tokens as a JSON Web Key Set (RFC 7517)."""
    return tokens.jwks


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Raises ValueError if the token key or SQLite's file cannot be used."""
    database, passwords = Database(settings, Path(__file__).parent / "migrations"), Passwords()

    async def create_admin() -> None:
        if settings.admin_password and not await database.read(store.find_by_name, ADMIN):
            password_hash = await passwords.hash(settings.admin_password.get_secret_value())
            await database.write(store.create, ADMIN, password_hash, ADMIN)

    edge = served_by("user", settings)
    app = create_chassis_app(
        service="user",
        router=router,
        settings=settings,
        edge=edge,
        lifespan=lambda _: database.running(prepare=create_admin),
        check=database.check,
    )
    app.state.database, app.state.passwords, app.state.tokens = database, passwords, Tokens(settings)
    app.state.notices = Notices(database, settings.notice_lifetime, edge["x-served-by"])
    app.state.profiles = Profiles(settings.version, database, app.state.notices)
    return app
