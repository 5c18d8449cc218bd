"""The whole system behind the ingress: every row of the API contract, through HTTP."""

import base64
import gzip
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from jwt.algorithms import OKPAlgorithm

from tests.conftest import ON_SQLITE
from tests.forking import Forked
from tests.support import GUEST_NAMES, Service, running

# What depends on the database is tested with each service.
pytestmark = ON_SQLITE

PASSWORD = "a good password"


def test_the_page_and_its_parts(visitor: httpx.Client) -> None:
    page = visitor.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>" in page.text
    assert visitor.get("/anything/else").text == page.text
    script = visitor.get("/app.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert visitor.head("/app.js").headers["etag"] == script.headers["etag"]


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_files_are_compressed_and_kept_by_the_browser(visitor: httpx.Client, encoding: str) -> None:
    answer = visitor.get("/app.js", headers={"accept-encoding": encoding})
    assert answer.headers.get("content-encoding", "identity") == encoding
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.headers["cache-control"] == "no-cache"
    conditional = {"accept-encoding": encoding, "if-none-match": answer.headers["etag"]}
    again = visitor.get("/app.js", headers=conditional)
    assert (again.status_code, again.content) == (304, b"")
    assert answer.text == visitor.get("/app.js", headers={"accept-encoding": "identity"}).text


def test_security_headers(visitor: httpx.Client) -> None:
    for path in ("/", "/api/rule", "/api/nothing"):
        headers = visitor.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


FILES = ["/modules/none.js", "/a/b.css", "/favicon.ico", "/robots.txt", "/.env"]


def test_an_unknown_api_or_file_is_a_404_problem(visitor: httpx.Client) -> None:
    for path in ("/api/nothing", "/api/", "/api/rule/1", *FILES):
        answer = visitor.get(path, follow_redirects=True)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path
    assert visitor.post("/api/nothing").status_code == 404
    # Only through the mesh: what comes in from outside is no event.
    assert visitor.post("/events").status_code == 405


ALLOWED = {
    "/": "GET, HEAD, OPTIONS",
    "/any/page": "GET, HEAD, OPTIONS",
    "/app.js": "GET, HEAD, OPTIONS",
    "/openapi.json": "GET, HEAD, OPTIONS",
    "/healthz": "GET, HEAD, OPTIONS",
    "/api/currentUser": "GET, HEAD, OPTIONS",
    "/api/users": "GET, HEAD, OPTIONS",
    "/api/notices": "GET, HEAD, OPTIONS, PUT",
    "/api/rule": "DELETE, GET, HEAD, OPTIONS, POST, PUT",
    "/api/login/account": "OPTIONS, POST",
    "/user/register": "OPTIONS, POST",
}


def test_methods_of_each_path(visitor: httpx.Client, gateway: Service) -> None:
    for path, allowed in ALLOWED.items():
        for wrong in (visitor.patch(path), gateway.client.request("CONNECT", path)):
            assert (wrong.status_code, wrong.headers["allow"]) == (405, allowed), path
            assert wrong.headers["content-type"] == "application/problem+json"
        options = visitor.options(path)
        assert (options.status_code, options.headers["allow"], options.content) == (204, allowed, b""), path
        if "GET" in allowed:
            head, answer = visitor.head(path), visitor.get(path)
            assert (head.status_code, head.content) == (answer.status_code, b""), path
            assert head.headers["content-type"] == answer.headers["content-type"]


def test_the_guests_profile_and_who_answered(
    visitor: httpx.Client, gateway: Service, users: dict[str, Service]
) -> None:
    answer = visitor.get("/api/currentUser")
    version = answer.json()["version"]
    assert (answer.json()["userid"], answer.json()["name"]) == ("guest", GUEST_NAMES[version])
    assert answer.headers["x-served-by"] == f"todolist/v1@127.0.0.1:{gateway.port}"
    name, duration, description = answer.headers["server-timing"].split(";")
    assert name == "user"
    assert float(duration.removeprefix("dur=")) > 0
    assert description == f'desc="user/{version}@127.0.0.1:{users[version].port}"'


def test_register_work_log_out_log_in(visitor: httpx.Client, unique: Callable[[str], str]) -> None:
    name = unique("李雷")
    answer = visitor.post("/user/register", json={"userName": name, "password": PASSWORD})
    assert (answer.status_code, answer.json()) == (201, {"status": "ok", "type": "", "currentAuthority": "user"})
    cookie = answer.headers["set-cookie"]
    for attribute in ("jwtToken=", "HttpOnly", "SameSite=lax", "Path=/", "Max-Age=43200"):
        assert attribute in cookie
    assert "Secure" not in cookie
    assert visitor.get("/api/currentUser").json()["name"] == name

    item = visitor.post("/api/rule", json={"name": "牛奶"})
    assert (item.status_code, item.json()["owner"]) == (201, name)
    key = item.json()["key"]
    assert visitor.put("/api/rule", json={"key": key, "status": 2}).json()["status"] == 2
    assert visitor.get("/api/rule").json()["total"] == 1

    left = visitor.post("/api/login/outLogin")
    assert left.status_code == 204
    assert 'jwtToken=""' in left.headers["set-cookie"]
    assert visitor.get("/api/currentUser").json()["userid"] == "guest"
    assert visitor.put("/api/rule", json={"key": key, "status": 3}).status_code == 404

    back = visitor.post("/api/login/account", json={"userName": name, "password": PASSWORD, "type": "account"})
    assert (back.status_code, back.json()) == (200, {"status": "ok", "type": "account", "currentAuthority": "user"})
    assert "token" not in back.text
    emptied = visitor.request("DELETE", "/api/rule", json={"key": [key]})
    assert emptied.json() == {"deleted": [key], "list": [], "pagination": {"total": 0, "totalIsExact": True}}


def test_a_session_without_its_account_ends(member: httpx.Client, claims: dict, sign) -> None:
    """Otherwise the profile would be the guest's, and the list of no account."""
    member.cookies.clear()
    answer = member.get("/api/currentUser", headers={"cookie": f"jwtToken={sign({**claims, 'sub': '0' * 32})}"})
    assert (answer.json()["userid"], answer.headers["x-caller"]) == ("guest", "guest")
    assert 'jwtToken=""' in answer.headers["set-cookie"]


def test_a_compressed_body_is_415(gateway: Service) -> None:
    def post(body: bytes, encoding: str) -> httpx.Response:
        headers = {"content-type": "application/json", "content-encoding": encoding}
        return gateway.client.post("/api/rule", content=body, headers=headers)

    for encoding in ("gzip", "br", "gzip, br", "deflate"):
        for body in (b'{"name": "x"}', gzip.compress(b'{"name": "x"}')):
            answer = post(body, encoding)
            assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity"), encoding
    assert post(b'{"name": "x"}', "identity").status_code == 201


@pytest.mark.parametrize("encoding", ["gbk", "utf-8-sig", "utf-16", "utf-8"])
def test_a_body_is_parsed_as_meant_or_rejected(member: httpx.Client, encoding: str) -> None:
    body = '{"name": "牛奶"}'.encode(encoding)
    answer = member.post("/api/rule", content=body, headers={"content-type": "application/json"})
    if encoding == "gbk":
        assert (answer.status_code, answer.json()["detail"]) == (
            400,
            "The body cannot be read: it must be JSON in UTF-8.",
        )
    else:
        assert (answer.status_code, answer.json()["name"]) == (201, "牛奶")


def test_a_search_in_another_encoding_is_rejected(visitor: httpx.Client) -> None:
    answer = visitor.get("/api/rule?name=%C5%A3%C4%CC")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "name")


def test_an_upgrade_request_keeps_its_body(visitor: httpx.Client, gateway: Service) -> None:
    """As Java's HttpClient makes with each first request."""
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    assert visitor.get("/api/rule", headers=offer).status_code == 200
    assert visitor.post("/api/rule", json={"name": "milk"}, headers=offer).json()["name"] == "milk"
    refused = gateway.client.post("/api/rule", json={"name": "milk"}, headers=offer)
    assert (refused.status_code, "Upgrade" in refused.json()["detail"]) == (400, True)
    assert refused.headers["connection"] == "close"


def test_a_body_that_is_too_large_is_rejected(gateway: Service) -> None:
    chunks = (b"x" * 10_000 for _ in range(10))
    chunked = gateway.client.post("/api/rule", content=chunks, headers={"content-type": "application/json"})
    for answer in (gateway.client.post("/api/rule", json={"name": "x" * 70_000}), chunked):
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


SELF = "http://todo.example"
# Each with the headers of a browser; a form and curl send none of them.
SENDERS: dict[str, tuple[dict[str, str], int]] = {
    "curl": ({}, 422),
    "our page on http": ({"host": "todo.example", "origin": SELF}, 422),
    "behind a proxy that writes the default port": ({"host": "todo.example:80", "origin": SELF}, 422),
    "behind a proxy with TLS that writes it": ({"host": "todo.example:443", "origin": "https://todo.example"}, 422),
    "with a slash": ({"host": "todo.example", "origin": f"{SELF}/"}, 422),
    "in capitals": ({"host": "TODO.example", "origin": SELF}, 422),
    "our page behind a proxy that rewrites Host": (
        {"host": "127.0.0.1:3001", "origin": "https://x-3001.app.example", "sec-fetch-site": "same-origin"}, 422
    ),
    "typed by a person": ({"sec-fetch-site": "none"}, 422),
    "a trusted page": ({"origin": "https://front.example:443", "sec-fetch-site": "cross-site"}, 422),
    "a trusted page of an old browser": ({"origin": "https://front.example"}, 422),
    "another site": ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, 403),
    "another site, our origin": ({"host": "todo.example", "origin": SELF, "sec-fetch-site": "cross-site"}, 403),
    "another name of our site": ({"origin": "https://x.todo.example", "sec-fetch-site": "same-site"}, 403),
    "another site in an old browser": ({"origin": "https://evil.example"}, 403),
    "another port": ({"host": "todo.example", "origin": f"{SELF}:8080"}, 403),
    "a name that begins like ours": ({"host": "todo.example", "origin": f"{SELF}.evil.example"}, 403),
    "our name as a user's": ({"host": "todo.example", "origin": "http://todo.example@evil.example"}, 403),
    "a sandboxed frame": ({"origin": "null"}, 403),
    "no origin": ({"origin": "http://[x"}, 403),
}  # fmt: skip


def test_only_same_origin_pages_may_write(rule: Service, tmp_path: Path) -> None:
    origins = "https://front.example http://other.example"
    with running(gateway := Forked("todolist", tmp_path, RULE_URL=rule.url, TRUSTED_ORIGINS=origins)):
        for sender, (headers, status) in SENDERS.items():
            for method in ("POST", "PUT", "DELETE"):
                answer = gateway.client.request(method, "/api/rule", json={}, headers=headers)
                assert answer.status_code == status, sender
            assert gateway.client.get("/api/rule", headers=headers).status_code == 200, sender


# Tokens


@pytest.fixture
def claims(member: httpx.Client) -> dict:
    return jwt.decode(member.cookies["jwtToken"], options={"verify_signature": False})


@pytest.fixture
def sign(member: httpx.Client, token_key: Path):
    """Signs claims as the user service does, each part replaceable."""
    key_id = jwt.get_unverified_header(member.cookies["jwtToken"])["kid"]
    genuine = load_pem_private_key(token_key.read_bytes(), None)

    def make(payload: dict, key: object = genuine, algorithm: str = "EdDSA", **header: object) -> str:
        return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": key_id, **header})

    return make


def who(gateway: Service, token: str) -> str:
    answer = httpx.get(f"{gateway.url}/api/currentUser", headers={"cookie": f"jwtToken={token}"})
    assert answer.status_code == 200
    return answer.json()["userid"]


def test_forged_expired_and_foreign_tokens_are_guests(gateway: Service, claims: dict, sign, token_key: Path) -> None:
    now = int(time.time())
    public = load_pem_private_key(token_key.read_bytes(), None).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    genuine = sign(claims)
    assert who(gateway, genuine) == claims["sub"]
    head, body, signature = genuine.split(".")
    stranger = Ed25519PrivateKey.generate()

    def encoded(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    other = encoded(json.dumps({**claims, "sub": "guest2"}).encode())

    def hs256(secret: bytes) -> str:
        header = json.dumps({"alg": "HS256", "typ": "JWT", "kid": jwt.get_unverified_header(genuine)["kid"]})
        text = f"{encoded(header.encode())}.{body}"
        return f"{text}.{encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"

    attacks = {
        "expired": sign({**claims, "exp": now - 60}),
        "another issuer": sign({**claims, "iss": "somebody"}),
        "another audience": sign({**claims, "aud": "something"}),
        "no subject": sign({name: value for name, value in claims.items() if name != "sub"}),
        "no expiry": sign({name: value for name, value in claims.items() if name != "exp"}),
        "another key": sign(claims, stranger),
        "an unknown key id": sign(claims, kid="unknown"),
        "another key, brought along": sign(
            claims, stranger, jwk=json.loads(OKPAlgorithm.to_jwk(stranger.public_key()))
        ),
        "another key, to be fetched": sign(claims, stranger, jku="http://evil.example/keys", x5u="http://evil.example"),
        "another algorithm": sign(claims, ec.generate_private_key(ec.SECP256R1()), "ES256"),
        "an extension that must be understood": sign(claims, crit=["b64"], b64=False),
        "11,000 levels": f"{encoded(b'[' * 11_000)}.{body}.{signature}",
        "a header that is no object": f"{encoded(b'[]')}.{body}.{signature}",
        "a key id that is no text": f"{encoded(json.dumps({'alg': 'EdDSA', 'kid': [1]}).encode())}.{body}.{signature}",
        "unsigned": jwt.encode(claims, None, algorithm="none"),
        "the public key as a secret (PEM)": hs256(pem),
        "the public key as a secret (raw)": hs256(raw),
        "another body": f"{head}.{other}.{signature}",
        "no signature": f"{head}.{body}.",
        "not base64": "%%%.%%%.%%%",
    }
    assert {name: who(gateway, token) for name, token in attacks.items()} == dict.fromkeys(attacks, "guest")


def test_the_openapi_document_has_all_paths(visitor: httpx.Client) -> None:
    document = visitor.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/healthz", "/readyz", "/metrics", "/api/currentUser", "/api/login/account", "/api/login/outLogin",
        "/user/register", "/api/users", "/api/notices", "/api/rule",
    }  # fmt: skip
    assert set(document["paths"]["/api/rule"]) == {"get", "post", "put", "delete"}
    names = {parameter["name"] for parameter in document["paths"]["/api/rule"]["get"]["parameters"]}
    assert names == {"current", "pageSize", "sorter", "status", "name", "key"}
    assert "token" not in document["components"]["schemas"]["LoggedIn"]["properties"]
