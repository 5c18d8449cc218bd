"""Names of accounts: which are allowed, and which are the same (PRECIS, RFC 8265)."""

import unicodedata
from functools import cache
from typing import Any

# In their canonical form. The administrator's account is created at start; the last two are how the guest is shown.
RESERVED = {"admin", "administrator", "guest", "root", "system", "秦粤", "粤秦d"}
# Alphabets with letters that look alike, as Unicode calls them: a Cyrillic а in a Latin name would go unnoticed.
ALPHABETS = {"ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "GREEK", "LATIN"}


@cache
def _profile() -> Any:
    # Imported here: most processes answer long before anybody logs in.
    from precis_i18n import get_profile

    return get_profile("UsernameCaseMapped")


def canonical(name: str) -> str:
    """Return the form in which names are compared: ADMIN is admin. Raises ValueError for a name that PRECIS forbids."""
    # A name may have several parts, with a space between them (RFC 8265, section 3.1).
    return " ".join(_profile().enforce(part) for part in name.split(" "))


def comparable(name: str) -> str:
    """Return the same; a name that is forbidden today, but that an older account may have, stands for itself."""
    try:
        return canonical(name)
    except ValueError:
        return name


def allowed(name: str) -> str:
    """Return the name. Raises ValueError when no new account may have it."""
    try:
        form = canonical(name)
    except ValueError:
        raise ValueError("must consist of letters, digits and the signs of ASCII") from None
    if form in RESERVED:
        raise ValueError("is reserved")
    if len({unicodedata.name(character, "").split(" ")[0] for character in form} & ALPHABETS) > 1:
        raise ValueError("must not mix alphabets")
    return name
