"""The page as a user sees it, in English, and what tests do to it again and again."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from playwright.sync_api import Locator, Page, Request, Route, expect

PASSWORD = "a good password"
IS_WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


class Screen:
    """A page object. All that has no name here is Playwright's: `screen.keyboard` is `page.keyboard`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        # The corner
        self.profile_name, self.profile_kind = page.locator("#profile-name"), page.locator("#profile-kind")
        self.profile_variant, self.bell = page.locator("#profile-variant"), page.locator("#bell")
        self.login, self.logout = page.locator("#login"), page.locator("#logout")
        self.register, self.users = page.locator("#register"), page.locator("#users-open")
        # The list
        self.new_item, self.search = page.locator("#new-item"), page.locator("#search")
        self.owner_notice, self.list_note = page.locator("#owner-notice"), page.locator("#list-note")
        self.rows, self.names = page.get_by_test_id("item-row"), page.locator("#rows .name")
        self.empty, self.list_error = page.locator("#empty"), page.locator("#list-error")
        self.select_all = page.get_by_label("Select all on this page")
        self.delete_selected = page.get_by_role("button", name="Delete selected")
        self.range, self.next_page = page.locator(".range"), page.get_by_role("button", name="Next page")
        # The panel
        self.calls = page.get_by_test_id("calls").get_by_role("listitem")
        self.traffic, self.rate = page.locator("#traffic-toggle"), page.locator("#traffic-rate")
        # The dialog that is open
        self.dialog = page.locator("dialog[open]")
        self.alert = self.dialog.get_by_role("alert")
        self.name, self.desc = page.get_by_label("Name", exact=True), page.get_by_label("Description")
        self.user_name, self.password = page.get_by_label("User name"), page.get_by_label("Password", exact=True)
        # Short messages: of what was done, and of what was not
        self.message, self.warning = page.locator("#toast-status"), page.locator("#toast-alert")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def row(self, name: str) -> Locator:
        return self.rows.filter(has=self.page.get_by_role("button", name=name, exact=True))

    def status_of(self, name: str) -> Locator:
        return self.row(name).locator("[data-status]")

    def action(self, what: str, name: str) -> Locator:
        return self.page.get_by_role("button", name=f"{what}: {name}", exact=True)

    def checkbox(self, name: str) -> Locator:
        return self.page.get_by_label(f"Select “{name}”")

    def chip(self, status: str) -> Locator:
        return self.page.locator("#status-filter").get_by_label(status)

    def header(self, column: str) -> Locator:
        return self.page.get_by_role("columnheader", name=column)

    def edge(self, leaf: str) -> Locator:
        """An edge of the picture: of todolist, rule, or a version of user."""
        return self.page.get_by_test_id(f"mesh-edge-{leaf}")

    def field_error(self, label: str) -> Locator:
        """The text that the field itself names as its description."""
        field = self.dialog.get_by_label(label, exact=True)
        expect(field).to_have_attribute("aria-invalid", "true")
        return self.page.locator(f"#{field.get_attribute('aria-describedby')}")

    def open(self, path: str = "/") -> "Screen":
        """Open the page and wait until the list has been loaded and rendered."""
        self.page.goto(path)
        self.expect_settled()
        return self

    def open_with(self, *items: str | dict[str, Any], path: str = "/") -> list[dict[str, Any]]:
        """Open the page when its list has these items, the last one newest."""
        added = self.add_items(*items)
        self.open(path)
        return added

    def expect_settled(self) -> None:
        expect(self.page.locator("#list-body")).to_have_attribute("aria-busy", "false")

    def sort_by(self, column: str) -> None:
        self.header(column).get_by_role("button").click()

    def set_language(self, name: str) -> None:
        self.page.locator(".switches").get_by_label(name).check()

    def become_visible(self) -> None:
        """Do what a browser does when this tab comes to the front."""
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def reload_profile(self, times: int = 1) -> None:
        for _ in range(times):
            with self.page.expect_response("**/api/currentUser"):
                self.page.locator("#profile-reload").click()

    def fill_in(self, name: str, desc: str = "") -> None:
        """Open the form of a new item, and fill it in."""
        self.new_item.click()
        self.name.fill(name)
        self.desc.fill(desc)

    def create(self, name: str, desc: str = "") -> None:
        self.fill_in(name, desc)
        self.choose("Create")

    def choose(self, button: str) -> None:
        """Click a button of the dialog that is open."""
        self.dialog.get_by_role("button", name=button, exact=True).click()

    def submit(self, button: str, name: str, password: str = PASSWORD) -> None:
        """Fill in the form of an account that is open, and send it."""
        self.user_name.fill(name)
        self.password.fill(password)
        self.page.locator("#account-dialog").get_by_role("button", name=button, exact=True).click()

    def sign_up(self, name: str = "member") -> str:
        """Register an account for this browser context, without the page, and return its whole name."""
        self.account = f"{name}-{uuid4().hex[:8]}"
        answer = self.page.request.post("/user/register", data={"userName": self.account, "password": PASSWORD})
        assert answer.status == 201, answer.text()
        return self.account

    def add_items(self, *items: str | dict[str, Any]) -> list[dict[str, Any]]:
        """Add items to the list of this browser context's user, without the page; the last one is newest."""
        added = []
        for item in items:
            wanted = {"name": item} if isinstance(item, str) else dict(item)
            status = wanted.pop("status", None)
            made = self.page.request.post("/api/rule", data=wanted).json()
            if status is not None:
                made = self.page.request.put("/api/rule", data={"key": made["key"], "status": status}).json()
            added.append(made)
        return added

    def delete(self, *items: dict[str, Any]) -> None:
        """Delete items without the page."""
        self.page.request.delete("/api/rule", data={"key": [item["key"] for item in items]})

    def stored(self, **query: str) -> list[dict[str, Any]]:
        """Return the items as the service has them."""
        return self.page.request.get("/api/rule", params=query).json()["data"]

    def requests_of(self, *methods: str, path: str = "/api/") -> list[Request]:
        """Return a list that grows with each request of these methods (of any, if none is named)."""
        seen: list[Request] = []

        def keep(request: Request) -> None:
            if path in request.url and (not methods or request.method in methods):
                seen.append(request)

        self.page.on("request", keep)
        return seen

    def hold(self, wanted: Callable[[Request], bool], path: str = "**/api/**") -> list[Route]:
        """Hold matching requests until the test continues them."""
        held: list[Route] = []
        self.page.route(path, lambda route: held.append(route) if wanted(route.request) else route.fallback())
        return held

    def hurry(self) -> None:
        """Shorten the pauses between lookups, from now on: the page ends one when the network is back."""
        self.page.evaluate("setInterval(() => dispatchEvent(new Event('online')), 50)")


def answering(body: object, status: int = 200, **headers: str) -> Callable[[Route], None]:
    """Return a handler that gives this answer."""
    kind = "application/json" if status < 400 else "application/problem+json"
    headers = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return lambda route: route.fulfill(status=status, headers=headers, body=json.dumps(body))
