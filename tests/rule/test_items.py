"""The rule service's items, through HTTP, on SQLite and on PostgreSQL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.conftest import ON_POSTGRESQL, ON_SQLITE, NewDatabase
from tests.forking import Forked
from tests.support import Service, as_caller, is_problem, running

FIELDS = {
    "key", "name", "desc", "status", "owner", "href", "avatar", "callNo", "progress", "disabled", "createdAt",
    "updatedAt",
}  # fmt: skip


@pytest.fixture
def owner(unique: Callable[[str], str]) -> dict[str, str]:
    return as_caller(unique("owner"))


def create(rule: Service, owner: dict[str, str], name: str = "milk", **fields: str) -> dict:
    answer = rule.client.post("/api/rule", json={"name": name, **fields}, headers=owner)
    assert answer.status_code == 201, answer.text
    return answer.json()


def names(rule: Service, owner: dict[str, str], **query: object) -> list[str]:
    return [item["name"] for item in rule.client.get("/api/rule", params=query, headers=owner).json()["data"]]


def test_a_created_item_has_all_fields(rule: Service, owner: dict[str, str]) -> None:
    owner["x-user-name"] = "%E6%9D%8E%E9%9B%B7"
    item = create(rule, owner, "  Buy milk  ", desc="two bottles")
    assert set(item) == FIELDS
    assert (item["name"], item["desc"], item["status"]) == ("Buy milk", "two bottles", 1)
    assert item["owner"] == "李雷"
    assert isinstance(item["key"], str)
    assert item["createdAt"].endswith("Z")
    assert datetime.fromisoformat(item["createdAt"]).tzinfo is not None
    assert rule.client.get("/api/rule", headers=owner).json()["data"] == [item]


def test_without_a_caller_it_is_the_guests_demonstration_list(rule: Service) -> None:
    page = rule.client.get("/api/rule").json()
    assert page["total"] >= 5
    assert {item["owner"] for item in page["data"]} == {"guest"}


def test_an_update_changes_only_the_given_fields(rule: Service, owner: dict[str, str]) -> None:
    # The course's front end sends the method, too.
    item = create(rule, owner, desc="two bottles", method="post")
    change = {"key": item["key"], "status": "2", "method": "update"}
    changed = rule.client.put("/api/rule", json=change, headers=owner).json()
    assert changed["updatedAt"] > item["updatedAt"]
    differing = {name for name in FIELDS if changed[name] != item[name]}
    assert differing == {"status", "updatedAt", "progress", "callNo"}
    assert (changed["status"], changed["progress"]) == (2, 100)
    assert rule.client.get("/api/rule", headers=owner).json()["data"] == [changed]


def test_an_unknown_key_is_404(rule: Service, owner: dict[str, str]) -> None:
    for key in ("0", "999999999", "x", "", "-1", "1e3", "01", "٣", "9" * 40):
        answer = rule.client.put("/api/rule", json={"key": key, "name": "x"}, headers=owner)
        assert is_problem(answer, 404), key


def test_delete_one_or_many_and_ignore_unknown_keys(rule: Service, owner: dict[str, str]) -> None:
    keys = [create(rule, owner, f"item {number}")["key"] for number in range(4)]
    answer = rule.client.request("DELETE", "/api/rule", json={"key": keys[0]}, headers=owner).json()
    assert [item["name"] for item in answer["list"]] == ["item 3", "item 2", "item 1"]
    assert answer["pagination"]["total"] == 3
    assert answer["deleted"] == keys[:1]
    body = {"key": [*keys[:3], *["unknown"] * 97]}
    answer = rule.client.request("DELETE", "/api/rule", json=body, headers=owner).json()
    assert [item["key"] for item in answer["list"]] == [keys[3]]
    assert answer["pagination"]["total"] == 1
    assert sorted(answer["deleted"]) == sorted(keys[1:3])


def test_read_by_key(rule: Service, owner: dict[str, str], unique: Callable[[str], str]) -> None:
    keys = [create(rule, owner, f"item {number}")["key"] for number in range(3)]
    theirs = create(rule, as_caller(unique("stranger")))["key"]
    # Whatever the page, even one that the list cannot have.
    assert names(rule, owner, key=keys[1], current="10000", status="2") == ["item 1"]
    assert sorted(names(rule, owner, key=f"{keys[0]},{keys[2]},{theirs},x")) == ["item 0", "item 2"]
    assert rule.client.get("/api/rule", params={"key": theirs}, headers=owner).json()["total"] == 0
    for wrong in (",", "1,", ",".join(["1"] * 101)):
        assert rule.client.get("/api/rule", params={"key": wrong}, headers=owner).status_code == 422


def test_pages_in_every_order(rule: Service, owner: dict[str, str]) -> None:
    keys = [create(rule, owner, name)["key"] for name in ("b", "a", "c")]
    rule.client.put("/api/rule", json={"key": keys[0], "status": 3}, headers=owner)
    assert names(rule, owner) == ["c", "a", "b"]
    for sorter, expected in {
        "name_ascend": ["a", "b", "c"],
        "name_descend": ["c", "b", "a"],
        "createdAt_ascend": ["b", "a", "c"],
        "createdAt_descend": ["c", "a", "b"],
        "updatedAt_descend": ["b", "c", "a"],
        "updatedAt_ascend": ["a", "c", "b"],
        "status_ascend": ["a", "c", "b"],
        "status_descend": ["b", "c", "a"],
    }.items():
        assert names(rule, owner, sorter=sorter) == expected, sorter
        paged = [name for page in (1, 2, 3) for name in names(rule, owner, sorter=sorter, pageSize=1, current=page)]
        assert paged == expected, sorter


def test_a_page_has_its_number_and_size(rule: Service, owner: dict[str, str]) -> None:
    for number in range(3):
        create(rule, owner, str(number))
    # An empty parameter counts as absent: the course's front end sends one with every list.
    page = rule.client.get("/api/rule?current=2&pageSize=2&sorter=&status=&name=", headers=owner).json()
    assert [item["name"] for item in page.pop("data")] == ["0"]
    assert page == {"total": 3, "totalIsExact": True, "success": True, "pageSize": 2, "current": 2}
    beyond = rule.client.get("/api/rule?current=9&pageSize=2", headers=owner).json()
    assert (beyond["data"], beyond["total"]) == ([], 3)
    assert rule.client.get("/api/rule?current=&pageSize=", headers=owner).json()["pageSize"] == 20


def test_filter_by_status(rule: Service, owner: dict[str, str]) -> None:
    for status in (0, 1, 2, 3):
        item = create(rule, owner, f"status {status}")
        rule.client.put("/api/rule", json={"key": item["key"], "status": status}, headers=owner)
    for query, expected in {
        "2": {"status 2"},
        "0,3": {"status 0", "status 3"},
        "1,1,2": {"status 1", "status 2"},
        "0,1,2,3": {f"status {status}" for status in range(4)},
    }.items():
        page = rule.client.get("/api/rule", params={"status": query, "sorter": "name_ascend"}, headers=owner).json()
        assert [item["name"] for item in page["data"]] == sorted(expected), query
        assert page["total"] == len(expected)
    assert names(rule, owner, status="0,2,3", sorter="createdAt_descend", pageSize=1, current=2) == ["status 2"]


def test_search_takes_every_character_as_it_is(rule: Service, owner: dict[str, str]) -> None:
    present = ("50% off", "500 off", "a_c", "abc", "back\\slash", "it's", "买牛奶", "Oat milk", "École")
    for name in present:
        create(rule, owner, name)
    for text in ("50%", "a_c", "back\\slash", "it's", "牛奶", "MILK", "École"):
        assert names(rule, owner, name=text) == [name for name in present if text.lower() in name.lower()], text


def test_a_new_item_that_is_sent_twice_is_one_item(rule: Service, owner: dict[str, str]) -> None:
    def send(key: str, name: str = "Once", **headers: str) -> httpx.Response:
        headers = {**owner, "idempotency-key": key, **headers}
        return rule.client.post("/api/rule", json={"name": name}, headers=headers)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(send, ['"first"'] * 8))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["key"] for answer in answers}) == 1
    rule.client.put("/api/rule", json={"key": answers[0].json()["key"], "status": 2}, headers=owner)
    again = send('"first"', "Twice").json()
    assert (again["name"], again["status"]) == ("Once", 2)
    assert send('"second"').json()["key"] != again["key"]
    # Another owner's key is another one.
    assert send('"first"', **as_caller("somebody-else")).json()["key"] != again["key"]
    assert names(rule, owner) == ["Once", "Once"]
    refused = send("x" * 101)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "idempotency-key")


# As if the item with this key were deleted after the insert has failed and before it is read.
CONFLICT = """
CREATE SEQUENCE attempts;
CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('attempts') = 1 THEN RAISE unique_violation; END IF;
    RETURN new;
END $$;
CREATE TRIGGER conflict BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION conflict();
"""


@ON_POSTGRESQL
def test_a_new_item_whose_predecessor_is_deleted_is_created(new_database: NewDatabase, tmp_path: Path) -> None:
    """SQLite has one writer at a time."""
    database = new_database()
    with running(rule := Forked("rule", tmp_path, DATABASE_URL=database)):
        with psycopg.connect(database) as connection:
            connection.execute(CONFLICT)
        answer = rule.client.post("/api/rule", json={"name": "Again"}, headers={"idempotency-key": "one"})
        assert (answer.status_code, answer.json()["name"]) == (201, "Again")


INVALID_BODIES = [
    ("{}", "name"),
    ('{"name": ""}', "name"),
    ('{"name": "   "}', "name"),
    ('{"name": 5}', "name"),
    ('{"name": null}', "name"),
    ('{"name": "%s"}' % ("x" * 201), "name"),
    ('{"name": "a\\u0000b"}', "name"),
    ('{"name": "\\u200b\\u200d\\u2060\\ufeff"}', "name"),
    ('{"name": "\\u3164 \\u2800 \\ufffc"}', "name"),
    ('{"name": "\\u202e\\u0301"}', "name"),
    ('{"name": "x", "key": "1"}', "key"),
    ('{"key": ["1", "2"]}', "key"),
    ('{"name": "x", "method": "update"}', "method"),
    ('{"name": "x", "desc": "%s"}' % ("x" * 2001), "desc"),
    ("[]", "body"),
    ('"text"', "body"),
    ('{"name": "x"', "body"),
]


def test_an_invalid_body_is_422_and_names_the_field(rule: Service, owner: dict[str, str]) -> None:
    for body, field in INVALID_BODIES:
        headers = {**owner, "content-type": "application/json"}
        answer = rule.client.post("/api/rule", content=body.encode(), headers=headers)
        assert answer.status_code == 422, body
        problem = answer.json()
        assert problem["status"] == 422
        assert field in [error["field"] for error in problem["errors"]], body
    assert names(rule, owner) == []


@ON_SQLITE
def test_a_form_of_another_site_adds_nothing(rule: Service, owner: dict[str, str]) -> None:
    """On a laptop a browser reaches the service, and any site can send such a body without a preflight request."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {**owner, "content-type": content_type}
        assert rule.client.post("/api/rule", content=b'{"name": "x"}', headers=headers).status_code == 422
    assert names(rule, owner) == []


def test_changes_by_post_name_the_right_method(rule: Service, owner: dict[str, str]) -> None:
    """An older version of the course's front end changes and deletes by POST."""
    item = create(rule, owner)
    for member in ({"method": "update"}, {"key": item["key"]}, {"key": [item["key"]], "method": "delete"}):
        answer = rule.client.post("/api/rule", json={"name": "milk", **member}, headers=owner)
        assert answer.status_code == 422
        assert "PUT changes" in answer.text
        assert "DELETE deletes" in answer.text
    assert rule.client.get("/api/rule", headers=owner).json()["data"] == [item]


def test_invisible_characters_stay_where_others_are_seen(rule: Service, owner: dict[str, str]) -> None:
    for name in ("👩\u200d💻", "می\u200cخواهم", "e\u0301", "…", "\u202eabc"):
        assert create(rule, owner, name)["name"] == name


def test_nothing_to_change_is_no_change(rule: Service, owner: dict[str, str]) -> None:
    item = create(rule, owner, desc="two")
    same = [{}, {"name": None}, {"name": "milk"}, {"name": " milk ", "desc": "two", "status": "1"}]
    for fields in same:
        answer = rule.client.put("/api/rule", json={"key": item["key"], **fields}, headers=owner)
        assert (answer.status_code, answer.json()) == (200, item)
    changed = rule.client.put("/api/rule", json={"key": item["key"], "name": "milk", "status": 2}, headers=owner)
    assert changed.json()["callNo"] == 1
    assert rule.client.put("/api/rule", json={"key": "999999999"}, headers=owner).status_code == 404


@ON_SQLITE
def test_errors_name_the_json_fields(rule: Service, owner: dict[str, str]) -> None:
    for method, body, fields in (
        *(("PUT", {"key": "1", "status": status}, {"status"}) for status in (4, "4", -1, "x", 1.5, True, [2])),
        ("PUT", {"status": 2}, {"key"}),
        ("DELETE", {"key": []}, {"key"}),
        ("DELETE", {"key": ["1"] * 101}, {"key"}),
        ("DELETE", {"key": 5}, {"key"}),
        ("DELETE", {"key": ["1", 5]}, {"key", "key.1"}),
        ("DELETE", {}, {"key"}),
    ):
        answer = rule.client.request(method, "/api/rule", json=body, headers=owner)
        assert answer.status_code == 422, body
        assert {error["field"] for error in answer.json()["errors"]} == fields


QUERIES = (
    "current=0", "current=x", "current=10001", "current=501&pageSize=20", "current=1000000000", "pageSize=0",
    "pageSize=101", "sorter=owner_ascend", "sorter=name", "status=4", "status=1,", "status=x", "name=a%00b",
)  # fmt: skip


@ON_SQLITE
def test_an_invalid_query_is_422(rule: Service) -> None:
    for query in QUERIES:
        answer = rule.client.get(f"/api/rule?{query}")
        assert answer.status_code == 422, query
        fields = {error["field"] for error in answer.json()["errors"]}
        assert fields <= {"query", "current", "pageSize", "sorter", "status", "name"}
        assert fields


def test_writers_at_the_same_time_lose_nothing(rule: Service, owner: dict[str, str]) -> None:
    with ThreadPoolExecutor(16) as threads:
        items = list(threads.map(lambda number: create(rule, owner, str(number)), range(100)))
    assert len({item["key"] for item in items}) == 100
    # Items created together are one statement of the database: each caller gets its own.
    assert [item["name"] for item in items] == [str(number) for number in range(100)]
    page = rule.client.get("/api/rule?pageSize=100", headers=owner).json()
    assert {item["key"]: item["name"] for item in page["data"]} == {item["key"]: item["name"] for item in items}


@ON_POSTGRESQL
def test_a_row_that_the_database_rejects_fails_alone(rule: Service, owner: dict[str, str]) -> None:
    """An owner too long for its column, among others; SQLite has no such limit."""

    def status(number: int) -> int:
        headers = as_caller("x" * 65) if number % 10 == 0 else owner
        return rule.client.post("/api/rule", json={"name": "milk"}, headers=headers).status_code

    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(status, range(100)))
    assert statuses == [500 if number % 10 == 0 else 201 for number in range(100)]


@ON_POSTGRESQL
def test_names_have_one_order_whatever_the_language_of_the_server(new_database: NewDatabase, tmp_path: Path) -> None:
    """The tests' own server has no locale with another order, so the collation of the column is checked."""
    query = "SELECT collation_name FROM information_schema.columns WHERE (table_name, column_name) = ('items', 'name')"
    database = new_database()
    with running(Forked("rule", tmp_path, DATABASE_URL=database)), psycopg.connect(database) as connection:
        assert connection.execute(query).fetchall() == [("C",)]
