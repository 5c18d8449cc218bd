"""Profiles: what is shown of the guest and of an account, in each variant."""

from typing import Any, Literal

from services.chassis.caller import GUEST

Variant = Literal["v1", "v2"]

# The guest's name tells which variant answered: the point of the demonstration.
GUEST_NAMES: dict[Variant, str] = {"v1": "秦粤", "v2": "粤秦D"}


def profile(variant: Variant, *, user_id: str = GUEST, name: str = "", authority: str = GUEST) -> dict[str, Any]:
    """Return the profile of an account, or of the guest, as this variant shows it."""
    is_guest = authority == GUEST
    return {
        "userid": user_id,
        "name": GUEST_NAMES[variant] if is_guest else name,
        "avatar": f"/avatars/{'guest' if is_guest else 'user'}-{variant}.svg",
        "email": "",
        "signature": "海纳百川，有容乃大" if variant == "v1" else "有容乃大，海纳百川",
        "title": {"guest": "访客", "user": "用户", "admin": "管理员"}[authority],
        "group": "todolist",
        "tags": [{"key": variant, "label": f"user {variant}"}],
        "notifyCount": 0,
        "unreadCount": 0,
        "country": "China",
        "geographic": {
            "province": {"key": "330000", "label": "浙江省"},
            "city": {"key": "330100", "label": "杭州市"},
        },
        "address": "",
        "phone": "",
        "access": authority,
        "version": variant,
    }
