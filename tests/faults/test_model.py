"""The rule service compared with a simple model, for two owners."""

import string
import unicodedata
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule, run_state_machine_as_test

from tests.faults.conftest import Figure
from tests.support import Service, as_caller

# Together with the other database: at least 2,000.
STEPS = 1000
NAME_LENGTH, DESC_LENGTH, KEYS_LENGTH = 200, 2000, 100
# What Unicode calls white space.
WHITE = "".join(
    map(chr, (*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000))
)
# Letters and symbols that show nothing.
BLANK = "\u115f\u1160\u3164\uffa0\u2800\ufffc\U0001d159\U00013441\U00013442"
SWAPPED = str.maketrans(string.ascii_letters, string.ascii_letters.swapcase())
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

Item = dict[str, Any]

# Few letters, so that searches find something; LIKE's own characters; letters whose other case is not ASCII.
letters = st.text(st.sampled_from("abAB%_\\'\"éÉİıſK\u0301ßΣσς牛奶😀 \u3000"), min_size=1, max_size=6)
texts = letters | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
names = letters | texts | st.sampled_from(["x" * NAME_LENGTH, "牛" * NAME_LENGTH, "x" * (NAME_LENGTH + 1)])
descs = texts | st.sampled_from(["", "y" * DESC_LENGTH, "y" * (DESC_LENGTH + 1)])
statuses = st.sampled_from([0, 1, 2, 3, "0", "1", "2", "3", 4, -1, "4", "", True, 1.5])
strange_keys = st.sampled_from(["", "0", "-1", "01", "1e3", "٣", "' OR 1=1 --", "9" * 18, "9" * 64])
sorters = st.sampled_from(
    [f"{field}_{way}" for field in ("name", "status", "createdAt", "updatedAt") for way in ("ascend", "descend")]
)


def is_text(value: str, length: int) -> bool:
    return len(value) <= length and "\0" not in value


def is_name(value: str) -> bool:
    """Say whether it is short enough, and something of it can be seen."""

    def is_seen(character: str) -> bool:
        category = unicodedata.category(character)
        # What this Python does not know yet may be an emoji.
        return character not in BLANK and (
            category[0] in "LNPS" or (category == "Cn" and 1 <= ord(character) >> 16 <= 3)
        )

    return is_text(value, NAME_LENGTH) and any(map(is_seen, value))


def is_status(value: object) -> bool:
    return not isinstance(value, bool) and value in (0, 1, 2, 3, "0", "1", "2", "3")


class Model(RuleBasedStateMachine):
    """Two owners' lists, here and in the service."""

    service: Service
    steps = 0
    runs = count()

    keys: Bundle[str] = Bundle("keys")

    # Hypothesis leaves some rules out of each run: without `create` there would be nothing to see.
    @initialize(target=keys, given=st.lists(letters | st.just("milk"), min_size=10, max_size=20))
    def begin(self, given: list[str]) -> Any:
        number = next(self.runs)
        self.owners = [f"{name}{number}" for name in ("ann", "bob")]
        self.lists: dict[str, dict[str, Item]] = {owner: {} for owner in self.owners}
        made = [self.create(number % 2, name, None) for number, name in enumerate(given) if is_name(name)]
        return multiple(*made)

    def ask(self, who: int, method: str, **arguments: Any) -> tuple[int, Any]:
        """Return status and body of the service's answer."""
        type(self).steps += 1
        answer = self.service.client.request(method, "/api/rule", headers=as_caller(self.owners[who]), **arguments)
        assert answer.status_code < 400 or answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()

    def items(self, who: int) -> dict[str, Item]:
        return self.lists[self.owners[who]]

    def page(self, items: list[Item], sorter: str = "createdAt_descend") -> list[Item]:
        field, way = sorter.split("_")
        order = ["status", "createdAt"] if field == "status" else [field]
        return sorted(
            items, key=lambda item: (*(item[name] for name in order), int(item["key"])), reverse=way == "descend"
        )

    @rule(target=keys, who=st.integers(0, 1), name=names, desc=st.none() | descs)
    def create(self, who: int, name: str, desc: str | None) -> Any:
        body = {"name": name} if desc is None else {"name": name, "desc": desc}
        status, item = self.ask(who, "POST", json=body)
        kept = name.strip(WHITE)
        if not (is_name(kept) and is_text(desc or "", DESC_LENGTH)):
            assert status == 422
            return multiple()
        assert status == 201
        key, created = item["key"], item["createdAt"]
        assert all(key not in items and int(key) > max(map(int, items), default=0) for items in self.lists.values())
        assert all(created > other["createdAt"] for items in self.lists.values() for other in items.values())
        assert item == {
            "key": key, "name": kept, "desc": desc or "", "status": 1, "owner": self.owners[who],
            "href": f"/?key={key}", "avatar": "/avatars/item.svg", "callNo": 0, "progress": 0, "disabled": False,
            "createdAt": created, "updatedAt": created,
        }  # fmt: skip
        self.items(who)[key] = item
        return key

    @rule(
        who=st.integers(0, 1),
        key=keys | strange_keys,
        fields=st.fixed_dictionaries({}, optional={"name": names, "desc": descs, "status": statuses}),
    )
    def change(self, who: int, key: str, fields: Item) -> None:
        status, answer = self.ask(who, "PUT", json={"key": key, **fields})
        kept = fields.get("name", "x").strip(WHITE)
        if not (is_name(kept) and is_text(fields.get("desc", ""), DESC_LENGTH) and is_status(fields.get("status", 0))):
            assert status == 422
        elif key not in self.items(who):
            assert status == 404
        else:
            before = self.items(who)[key]
            after = {**before, **fields}
            after["name"] = kept if "name" in fields else before["name"]
            after["status"] = int(after["status"])
            after["progress"], after["disabled"] = 100 if after["status"] == 2 else 0, after["status"] == 0
            if after != before:
                after |= {"callNo": before["callNo"] + 1, "updatedAt": answer["updatedAt"]}
                assert after["updatedAt"] > before["updatedAt"]
            assert (status, answer) == (200, after)
            self.items(who)[key] = after

    @rule(key=keys, status=st.integers(0, 3))
    def set_status(self, key: str, status: int) -> None:
        for who in (0, 1):
            if key in self.items(who):
                self.change(who, key, {"status": status})

    @rule(
        who=st.integers(0, 1),
        wanted=keys | strange_keys | st.lists(keys | strange_keys, max_size=5) | st.just(["1"] * (KEYS_LENGTH + 1)),
    )
    def delete(self, who: int, wanted: str | list[str]) -> None:
        status, answer = self.ask(who, "DELETE", json={"key": wanted})
        if not isinstance(wanted, str) and not 1 <= len(wanted) <= KEYS_LENGTH:
            assert status == 422
            return
        named = {wanted} if isinstance(wanted, str) else set(wanted)
        there = [key for key in named if self.items(who).pop(key, None)]
        left = self.page(list(self.items(who).values()))
        assert status == 200
        assert sorted(answer.pop("deleted")) == sorted(there)
        assert answer == {"list": left[:20], "pagination": {"total": len(left), "totalIsExact": True}}

    @rule(
        who=st.integers(0, 1),
        name=st.just("") | letters,
        wanted=st.lists(st.integers(0, 3), max_size=5),
        sorter=sorters,
        current=st.sampled_from([1, 1, 1, 2, 3, 0, 10**9]),
        size=st.sampled_from([20, 1, 2, 3, 100, 0, 101]),
    )
    def read(
        self,
        who: int,
        name: str = "",
        wanted: Sequence[int] = (),
        sorter: str = "createdAt_descend",
        current: int = 1,
        size: int = 100,
    ) -> None:
        query = {
            "name": name, "status": ",".join(map(str, wanted)), "sorter": sorter, "current": current, "pageSize": size,
        }  # fmt: skip
        status, answer = self.ask(who, "GET", params=query)
        if not (1 <= size <= 100 and current >= 1 and current * size <= 10_000):
            assert status == 422
            return
        found = [
            item
            for item in self.items(who).values()
            if name.strip().translate(LOWER) in item["name"].translate(LOWER) and item["status"] in (wanted or range(4))
        ]
        shown = self.page(found, sorter)[(current - 1) * size : current * size]
        assert status == 200
        assert answer == {
            "data": shown, "total": len(found), "totalIsExact": True, "success": True, "pageSize": size,
            "current": current,
        }  # fmt: skip

    @rule(key=keys, start=st.integers(0, 5), length=st.integers(1, 3))
    def search(self, key: str, start: int, length: int) -> None:
        """Search for a part of an item's name, in the other case, and with what would match more if it were no text."""
        for who in (0, 1):
            if key in self.items(who):
                name = self.items(who)[key]["name"]
                part = name[start % len(name) :][:length].translate(SWAPPED)
                for wildcard in ("", "%", "_"):
                    self.read(who, part + wildcard)

    def teardown(self) -> None:
        for who in (0, 1):
            for sorter in ("createdAt_descend", "name_ascend", "status_ascend"):
                # Of several statuses each is read by itself.
                for wanted in ((), (0, 1, 2)):
                    self.read(who, wanted=wanted, sorter=sorter)


def test_the_service_matches_the_model(rule: Service, figure: Figure, new_database: Callable[[], str]) -> None:
    class Checked(Model):
        service = rule

    while Checked.steps < STEPS:
        # Shrinking a failure takes minutes; its steps are printed as they are.
        phases, health = [Phase.generate], list(HealthCheck)
        run_state_machine_as_test(
            Checked,
            settings=settings(
                max_examples=5, deadline=None, database=None, phases=phases, suppress_health_check=health
            ),
        )
    kind = "SQLite" if new_database().startswith("sqlite") else "PostgreSQL"
    figure(f"rule and a plain model of it never differ, on {kind}", f"{Checked.steps:,} random calls, 0 differences")
