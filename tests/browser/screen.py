"""What is on the screen, and how to get there; all texts are English."""

import json
from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, Request, Route, expect

PASSWORD = "a good password"
IS_WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def sign_up(page: Page, name: str) -> str:
    """Register an account for this browser context and return its name."""
    answer = page.request.post("/user/register", data={"userName": name, "password": PASSWORD})
    assert answer.status == 201, answer.text()
    return name


def register_elsewhere(page: Page, name: str) -> str:
    """Register an account without logging in here, and return its name."""
    account = {"userName": name, "password": PASSWORD}
    httpx.post(f"{page.url}user/register", json=account, timeout=30, trust_env=False).raise_for_status()
    return name


def add_items(page: Page, *items: str | dict[str, Any]) -> list[dict[str, Any]]:
    """Add items to the list of this browser context's user, the last one newest."""
    added = []
    for item in items:
        wanted = {"name": item} if isinstance(item, str) else dict(item)
        status = wanted.pop("status", None)
        made = page.request.post("/api/rule", data=wanted).json()
        if status is not None:
            made = page.request.put("/api/rule", data={"key": made["key"], "status": status}).json()
        added.append(made)
    return added


def stored(page: Page, **query: str) -> list[dict[str, Any]]:
    """Return the items as the service has them."""
    return page.request.get("/api/rule", params=query).json()["data"]


def open_list(page: Page, path: str = "/") -> Page:
    """Open the page and wait until the list has been loaded and rendered."""
    page.goto(path)
    expect_settled(page)
    return page


def expect_settled(page: Page) -> None:
    expect(page.locator("#list-body")).to_have_attribute("aria-busy", "false")


def names(page: Page) -> Locator:
    """The names on the page, in their order."""
    return page.locator("#rows .name")


def row(page: Page, name: str) -> Locator:
    return page.get_by_test_id("item-row").filter(has=page.get_by_role("button", name=name, exact=True))


def status_of(page: Page, name: str) -> Locator:
    return row(page, name).locator("[data-status]")


def action(page: Page, what: str, name: str) -> Locator:
    return page.get_by_role("button", name=f"{what}: {name}", exact=True)


def dialog(page: Page) -> Locator:
    """The dialog that is open."""
    return page.locator("dialog[open]")


def chip(page: Page, status: str) -> Locator:
    return page.get_by_test_id("status-filter").get_by_label(status)


def fill_in(page: Page, name: str, desc: str = "") -> None:
    """Open the form of a new item, and fill it in."""
    page.get_by_test_id("new-item").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Description").fill(desc)


def create(page: Page) -> None:
    page.get_by_role("button", name="Create", exact=True).click()


def submit(page: Page, button: str, name: str, password: str = PASSWORD) -> None:
    """Fill in the form of an account that is open, and send it."""
    account = page.locator("#account-dialog")
    account.get_by_label("User name").fill(name)
    account.get_by_label("Password", exact=True).fill(password)
    account.get_by_role("button", name=button, exact=True).click()


def answering(body: object, status: int = 200, **headers: str) -> Callable[[Route], None]:
    """Return a handler that gives this answer."""
    kind = "application/json" if status < 400 else "application/problem+json"
    headers = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return lambda route: route.fulfill(status=status, headers=headers, body=json.dumps(body))


def hurry(page: Page) -> None:
    """Shorten the pauses between lookups: the page ends one when the network is back."""
    page.evaluate("setInterval(() => dispatchEvent(new Event('online')), 50)")


def field_error(page: Page, label: str) -> Locator:
    """The text that the field itself names as its description."""
    field = dialog(page).get_by_label(label, exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    return page.locator(f"#{field.get_attribute('aria-describedby')}")


def requests_of(page: Page, *methods: str, path: str = "/api/") -> list[Request]:
    """Return a list that grows with each request of these methods (of any, if none is named)."""
    seen: list[Request] = []

    def keep(request: Request) -> None:
        if path in request.url and (not methods or request.method in methods):
            seen.append(request)

    page.on("request", keep)
    return seen


def hold(page: Page, wanted: Callable[[Request], bool], path: str = "**/api/**") -> list[Route]:
    """Hold matching requests until the test continues them."""
    held: list[Route] = []

    def handle(route: Route) -> None:
        if wanted(route.request):
            held.append(route)
        else:
            route.fallback()

    page.route(path, handle)
    return held
