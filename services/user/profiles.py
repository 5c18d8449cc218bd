"""Profiles and notices, as the versions v1 and v2 show them."""

from datetime import UTC
from functools import lru_cache
from typing import Literal

from services.chassis.caller import GUEST
from services.chassis.database import Database, Row
from services.chassis.problems import Problem
from services.user import store
from services.user.notices import Notices
from services.user.schemas import EventType, Geographic, Label, Notice, NoticeEvent, Profile
from services.user.store import Counts

Version = Literal["v1", "v2"]

# The guest's name shows which version answered: the point of the demonstration.
GUEST_NAMES: dict[Version, str] = {"v1": "秦粤", "v2": "粤秦D"}
SIGNATURES: dict[Version, str] = {"v1": "海纳百川，有容乃大", "v2": "有容乃大，海纳百川"}
TITLES = {"guest": "访客", "user": "用户", "admin": "管理员"}
DESCRIPTIONS: dict[EventType, str] = {
    "todolist.item.created": "新建待办事项",
    "todolist.item.done": "完成待办事项",
    "todolist.item.reopened": "重新打开待办事项",
    "todolist.item.deleted": "删除待办事项",
}
HANGZHOU = Geographic(province=Label(key="330000", label="浙江省"), city=Label(key="330100", label="杭州市"))


class Profiles:
    """Reads the profiles of all accounts, and the guest's."""

    def __init__(self, version: Version, database: Database, notices: Notices) -> None:
        self._version, self._database, self._notices = version, database, notices

    async def read(self, id: str) -> Profile:
        """Return the profile of an account, or of the guest. Raises a Problem if there is no such account."""
        if id == GUEST:
            return _profile(self._version, await self._notices.counts(id))
        account = await self._database.read(store.find_by_id, id)
        if account is None:
            raise Problem(404, "There is no such account.")
        counts = await self._notices.counts(id)
        return _profile(self._version, counts, account["id"], account["name"], account["authority"])


@lru_cache
def _profile(
    version: Version,
    counts: Counts,
    user_id: str = GUEST,
    name: str = "",
    access: Literal["guest", "user", "admin"] = "guest",
) -> Profile:
    is_guest = access == GUEST
    return Profile(
        userid=user_id,
        name=GUEST_NAMES[version] if is_guest else name,
        avatar=f"/avatars/{'guest' if is_guest else 'user'}-{version}.svg",
        signature=SIGNATURES[version],
        title=TITLES[access],
        tags=[Label(key=version, label=f"user {version}")],
        notify_count=counts.notify_count,
        unread_count=counts.unread_count,
        geographic=HANGZHOU,
        access=access,
        version=version,
    )


def notice(row: Row) -> Notice:
    """Return a row as a response model."""
    # SQLite returns times without their zone.
    happened_at, taken_at = (row[name].replace(tzinfo=UTC) for name in ("happened_at", "taken_at"))
    return Notice(
        id=str(row["id"]),
        title=row["item_name"],
        description=DESCRIPTIONS[row["type"]],
        datetime=happened_at,
        read=row["is_read"],
        event=NoticeEvent(
            type=row["type"],
            source=row["source"],
            taken_by=row["taken_by"],
            seconds=(taken_at - happened_at).total_seconds(),
            key=row["item_key"],
            name=row["item_name"],
        ),
    )
