"""Profiles: what is shown of the guest and of an account, in each variant."""

from functools import cache
from typing import Literal

from services.user.schemas import Authority, Geographic, Label, Profile

Variant = Literal["v1", "v2"]

# The guest's name tells which variant answered: the point of the demonstration.
GUEST_NAMES: dict[Variant, str] = {"v1": "秦粤", "v2": "粤秦D"}
SIGNATURES: dict[Variant, str] = {"v1": "海纳百川，有容乃大", "v2": "有容乃大，海纳百川"}
TITLES = {"guest": "访客", "user": "用户", "admin": "管理员"}
HANGZHOU = Geographic(province=Label(key="330000", label="浙江省"), city=Label(key="330100", label="杭州市"))


@cache
def guest_profile(variant: Variant) -> Profile:
    """Return the profile of the guest, as this variant shows it."""
    return _profile(variant, "guest", GUEST_NAMES[variant], "guest", avatar="guest")


def account_profile(variant: Variant, user_id: str, name: str, authority: Authority) -> Profile:
    """Return the profile of an account, as this variant shows it."""
    return _profile(variant, user_id, name, authority, avatar="user")


def _profile(
    variant: Variant, user_id: str, name: str, access: Literal["guest", "user", "admin"], avatar: str
) -> Profile:
    return Profile(
        userid=user_id,
        name=name,
        avatar=f"/avatars/{avatar}-{variant}.svg",
        signature=SIGNATURES[variant],
        title=TITLES[access],
        tags=[Label(key=variant, label=f"user {variant}")],
        geographic=HANGZHOU,
        access=access,
        version=variant,
    )
