"""Attacks from outside, and the exact rejection of each."""

import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import ON_SQLITE
from tests.support import Service, as_caller, is_problem

pytestmark = ON_SQLITE

PASSWORD = "a good password"
# The default of LOGIN_ATTEMPTS.
ATTEMPTS = 10
NewName = Callable[[str], str]
JSON = {"content-type": "application/json"}

# Writes, each with a valid body.
WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/api/rule", {"name": "forged"}),
    ("PUT", "/api/rule", {"key": "KEY", "name": "forged"}),
    ("DELETE", "/api/rule", {"key": "KEY"}),
    ("POST", "/api/login/outLogin", {}),
    ("POST", "/api/login/account", {"userName": "admin", "password": "adminadmin"}),
    ("POST", "/user/register", {"userName": "forged", "password": PASSWORD}),
]


def sign_up(client: httpx.Client, name: str) -> None:
    client.post("/user/register", json={"userName": name, "password": PASSWORD}).raise_for_status()


def log_in(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return client.post("/api/login/account", json={"userName": name, "password": password})


def browser(visitor: httpx.Client) -> httpx.Client:
    return httpx.Client(base_url=visitor.base_url, timeout=30, trust_env=False)


# # Items of other users


@pytest.mark.parametrize("who", ["a guest", "another member", "a member who says to be the owner"])
def test_a_foreign_key_is_no_key(member: httpx.Client, unique: NewName, who: str) -> None:
    owner = member.get("/api/currentUser").json()
    item = member.post("/api/rule", json={"name": "secret plan", "desc": "hidden"}).json()
    key = item["key"]
    with browser(member) as stranger:
        if who != "a guest":
            sign_up(stranger, unique("stranger"))
        if who == "a member who says to be the owner":
            stranger.headers.update({**as_caller(owner["userid"], owner["name"]), "end-user": owner["name"]})
            stranger.cookies.set("x-user-id", owner["userid"])
        for change in ({"name": "mine"}, {"desc": ""}, {"status": 2}, {"status": "0", "owner": "me"}, {}):
            assert is_problem(stranger.put("/api/rule", json={"key": key, **change}), 404)
        for keys in (key, [key], [key, key, "x"]):
            left = stranger.request("DELETE", "/api/rule", json={"key": keys})
            assert left.status_code == 200
            assert "secret plan" not in left.text
        for query in ("", "?name=secret", "?name=%25", "?status=0,1,2,3", f"?key={key}", f"?owner={owner['userid']}"):
            assert "secret plan" not in stranger.get(f"/api/rule{query}").text
        assert is_problem(stranger.post("/api/rule", json={"name": "x", "key": key}), 422)
        made = stranger.post("/api/rule", json={"name": "x", "owner": owner["userid"]}).json()
        assert made["key"] != key
        assert made["owner"] != owner["name"]
        stranger.request("DELETE", "/api/rule", json={"key": made["key"]})
    assert member.get("/api/rule").json()["data"] == [item]


def test_a_client_cannot_forge_who_answered(visitor: httpx.Client, gateway: Service) -> None:
    answer = visitor.get("/api/rule", headers={"x-served-by": "forged", "server-timing": "forged"})
    assert answer.headers.get_list("x-served-by") == [f"todolist/v1@127.0.0.1:{gateway.port}"]
    assert "forged" not in str(answer.headers)


# Bodies

BODIES = {
    "no UTF-8": b'{"name": "\xff"}',
    "overlong UTF-8": b'{"name": "\xc0\xaf"}',
    "a raw NUL": b'{"name": "a\0b"}',
    "two documents": b'{"name": "x"}{"name": "y"}',
    "more than a document": b'{"name": "x"} x',
    "half a character": b'{"name": "a\\ud800"}',
    "no number": b'{"name": NaN}',
    "nothing": b"",
    "a comment": b'/* */{"name": "x"}',
    "30,000 levels": b'{"name": "x", "desc": %s}' % (b"[" * 30_000 + b"]" * 30_000),
    "a number of 60,000 digits": b'{"name": "x", "desc": %s}' % (b"9" * 60_000),
}


def test_a_body_that_is_not_json_is_rejected(member: httpx.Client) -> None:
    for name, body in BODIES.items():
        for method, path, _ in WRITES:
            if path == "/api/login/outLogin":  # It takes no body.
                continue
            answer = member.request(method, path, content=body, headers=JSON)
            # What is no text, or nested too deeply, is a 400.
            assert is_problem(answer, answer.status_code), name
            assert answer.status_code in (400, 422), name
    assert member.get("/api/rule").json()["total"] == 0


def test_of_a_key_that_is_there_twice_the_last_one_counts_everywhere(member: httpx.Client) -> None:
    """Only the service that handles it parses a body, so there are no two interpretations."""
    keys = [member.post("/api/rule", json={"name": name}).json()["key"] for name in ("a", "b")]
    body = b'{"key": "%s", "name": "x", "key": "%s", "name": "y"}' % tuple(key.encode() for key in keys)
    assert member.put("/api/rule", content=body, headers=JSON).json()["name"] == "y"
    assert [item["name"] for item in member.get("/api/rule").json()["data"]] == ["y", "a"]
    member.request("DELETE", "/api/rule", content=body, headers=JSON)
    assert [item["name"] for item in member.get("/api/rule").json()["data"]] == ["a"]


def test_unknown_fields_have_no_effect(member: httpx.Client) -> None:
    wanted = {"owner": "guest", "status": 0, "callNo": 9, "href": "//evil.example", "createdAt": "1970-01-01T00:00:00Z"}
    item = member.post("/api/rule", json={"name": "x", **wanted, "__proto__": {"admin": True}}).json()
    assert (item["status"], item["callNo"], item["href"]) == (1, 0, f"/?key={item['key']}")
    assert item["owner"] != "guest"
    assert item["createdAt"] > "2000"
    account = {"userName": f"{item['owner']}2", "password": PASSWORD, "authority": "admin", "currentAuthority": "admin"}
    assert member.post("/user/register", json=account).json()["currentAuthority"] == "user"
    assert is_problem(member.get("/api/users"), 403)


def test_sql_is_text_like_any_other(member: httpx.Client) -> None:
    sql = ("' OR '1'='1", "x'; DROP TABLE items; --", "1 UNION SELECT password_hash FROM accounts", '") OR 1=1 --')
    member.post("/api/rule", json={"name": "milk"})
    for number, text in enumerate((*sql, "${jndi:x}", "{{7*7}}"), 1):
        assert member.get("/api/rule", params={"name": text}).json()["total"] == 0
        made = member.post("/api/rule", json={"name": text, "desc": text}).json()
        assert (made["name"], made["desc"]) == (text, text)
        assert member.get("/api/rule", params={"name": text}).json()["data"] == [made]
        for field in ("sorter", "status"):
            assert is_problem(member.get("/api/rule", params={field: text}), 422), text
        assert is_problem(member.put("/api/rule", json={"key": text, "status": 2}), 404), text
        member.request("DELETE", "/api/rule", json={"key": [text]})
        assert member.get("/api/rule").json()["total"] == 1 + number
        for name, password in (("nobody at all", text), (text, PASSWORD)):
            assert log_in(member, name, password).status_code == 401, text


# Addresses


def raw(client: httpx.Client, target: bytes, host: bytes = b"x") -> bytes:
    """Return the answer to a GET of exactly these bytes: clients tidy an address up before they send it."""
    answer = b""
    with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=10) as connection:
        connection.sendall(b"GET %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" % (target, host))
        while received := connection.recv(65536):
            answer += received
    return answer


TRAVERSALS = [
    b"/../settings.py", b"/../../../../../etc/passwd", b"/avatars/../../settings.py", b"//etc/passwd", b"/./../app.py",
    b"/%2e%2e/settings.py", b"/..%2fsettings.py", b"/..%5csettings.py", b"/..\\settings.py", b"/%252e%252e/settings.py",
    b"/..;/settings.py", b"/..%00/settings.py", b"/app.js%00.html", b"/.%2e/settings.py", b"/%c0%ae%c0%ae/settings.py",
    b"/file:///etc/passwd", b"http://evil.example/../settings.py", b"/.git/config", b"/static/index.html",
]  # fmt: skip


def raw_all(clients: tuple[httpx.Client, ...], targets: list[bytes], host: bytes = b"x") -> list[tuple[Any, ...]]:
    """Return client, target and answer of each; at the same time, as Envoy takes a second to close a connection."""
    cases = [(client, target) for client in clients for target in targets]
    with ThreadPoolExecutor(16) as threads:
        answers = threads.map(lambda case: raw(*case, host), cases)
        return [(*case, answer) for case, answer in zip(cases, answers, strict=True)]


def test_no_path_escapes_the_static_files(visitor: httpx.Client, gateway: Service) -> None:
    page = gateway.client.get("/").content
    for _, target, answer in raw_all((visitor, gateway.client), TRAVERSALS):
        head, _, body = answer.partition(b"\r\n\r\n")
        # The page, or a problem where the address is that of a file that does not exist.
        if head.startswith(b"HTTP/1.1 200 OK\r\n"):
            assert body == page, target
        else:
            assert head.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ", b"HTTP/1.1 307 ")), target
            assert b"root:" not in body, target
            assert b"import" not in body, target
    # Below /api there are no files.
    for target in (b"/api/../settings.py", b"/api/%2e%2e/%2e%2e/etc/passwd", b"/api//rule", b"/api/rule/.."):
        assert raw(gateway.client, target).startswith(b"HTTP/1.1 404 "), target


REDIRECTS = [
    b"//evil.example", b"//evil.example/%2e%2e", b"/\\evil.example", b"/%2f%2fevil.example", b"/%5cevil.example",
    b"/api/rule/", b"/user/register/", b"/healthz/", b"//evil.example/healthz/", b"/?next=//evil.example",
    b"/?redirect=https://evil.example", b"/api/rule?next=//evil.example", b"http://evil.example/",
    b"/evil%0d%0alocation:%20x",
]  # fmt: skip


def test_no_path_redirects_to_another_site(visitor: httpx.Client, gateway: Service, rule: Service) -> None:
    for _, target, answer in raw_all((visitor, gateway.client, rule.client), REDIRECTS, host=b"evil.example"):
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert head.split()[1] in (b"200", b"404", b"307"), target
        # The ingress redirects to the same path without escapes; two slashes or a backslash would be another site.
        others, locations = re.subn(rb"\r\nlocation: /(?![/\\])[^\r]*", b"", head)
        assert locations == head.split()[1].count(b"307"), target
        assert b"\r\nlocation:" not in others, target
        assert b"evil" not in others, target


# A page of another site, in the browser of a logged-in user

# How the request is made: with which headers, and the refusal; tests/todolist has more origins.
WAYS = {
    "by a script": ({"origin": "https://evil.example", **JSON}, 403),
    "by a form": ({"content-type": "application/x-www-form-urlencoded"}, 415),
    "by a form that looks like JSON": ({"content-type": "text/plain"}, 415),
    "without a type": ({"content-type": ""}, 415),
    "by a form with a file": ({"content-type": "multipart/form-data; boundary=x"}, 415),
    "by a form of another site": ({"origin": "https://evil.example", "content-type": "text/plain"}, 403),
    "with a misleading type": ({"content-type": "text/plain; application/json"}, 415),
    "with two types": ({"content-type": "application/json, text/plain"}, 415),
}


def test_another_site_changes_nothing(member: httpx.Client) -> None:
    item = member.post("/api/rule", json={"name": "mine"}).json()
    for way, (headers, refusal) in WAYS.items():
        for method, path, body in WRITES:
            content = httpx.Request(method, "http://x", json=body).content.replace(b"KEY", item["key"].encode())
            answer = member.request(method, path, content=content, headers=headers)
            assert is_problem(answer, refusal), (way, path)
            assert "set-cookie" not in answer.headers
            assert "access-control-allow-origin" not in answer.headers
    assert member.get("/api/rule").json()["data"] == [item]
    asked = {"origin": "https://evil.example", "access-control-request-method": "PUT"}
    preflight = member.options("/api/rule", headers=asked)
    assert not [name for name in preflight.headers if name.startswith("access-control-")]


# Guessing passwords


def test_guessing_does_not_lock_out_a_known_device(
    visitor: httpx.Client, users: dict[str, Service], unique: NewName
) -> None:
    alice, bob = unique("alice"), unique("bob")
    with browser(visitor) as own, browser(visitor) as thief:
        sign_up(own, alice)
        sign_up(thief, bob)
        cookie = next(each for each in own.cookies.jar if each.name == "knownDevice")
        assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("/api/login", True)
        token = str(cookie.value)
        own.post("/api/login/outLogin")

        # An attacker is stopped at every replica, also with a known device of another account.
        assert [log_in(thief, alice, "not the password").status_code for _ in range(ATTEMPTS)] == [401] * ATTEMPTS
        for client in (visitor, users["v1"].client, users["v2"].client, thief):
            assert is_problem(log_in(client, alice), 429)
        # Nor does a forged one help, nor a header that only the gateway may send, nor a session's token.
        account = {"userName": alice, "password": PASSWORD}
        for headers in (
            {"cookie": f"knownDevice={token[:-8]}AAAAAAAA", "x-known-device": token},
            {"cookie": 'knownDevice="a\\012b"'},
            {"cookie": f"knownDevice={thief.cookies['jwtToken']}"},
        ):
            assert is_problem(thief.post("/api/login/account", json=account, headers=headers), 429)

        # The owner can still log in with a known device, at every replica; this does not help the attacker.
        assert log_in(own, alice).status_code == 200
        known = {"x-known-device": token}
        assert users["v2"].client.post("/api/login/account", json=account, headers=known).status_code == 200
        assert is_problem(log_in(thief, alice), 429)

        # A stolen device has few guesses too, and is no session.
        stolen, wrong = {"cookie": f"knownDevice={token}"}, {**account, "password": "not the password"}
        codes = [thief.post("/api/login/account", json=wrong, headers=stolen).status_code for _ in range(ATTEMPTS + 1)]
        assert codes == [401] * ATTEMPTS + [429]
        session = {"cookie": f"jwtToken={token}"}
        assert thief.get("/api/currentUser", headers=session).json()["userid"] == "guest"
