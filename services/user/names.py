"""Account names: which are allowed, and which are equal (PRECIS, RFC 8265)."""

import unicodedata
from functools import cache
from typing import Any

# In their canonical form. The administrator's account is created at start; the last two are display names of the guest.
RESERVED = {"admin", "administrator", "guest", "root", "system", "秦粤", "粤秦d"}
# Unicode names of alphabets with confusable letters: a Cyrillic а in a Latin name would go unnoticed.
ALPHABETS = {"ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "GREEK", "LATIN"}


@cache
def _profile() -> Any:
    # Imported here: it would delay the start, and only logins need it.
    from precis_i18n import get_profile

    return get_profile("UsernameCaseMapped")


def canonical(name: str) -> str:
    """Return the form in which names are compared: ADMIN is admin. Raises ValueError for a name that PRECIS forbids."""
    # A name may have several parts, with a space between them (RFC 8265, section 3.1).
    return " ".join(_profile().enforce(part) for part in name.split(" "))


def comparable(name: str) -> str:
    """Return the canonical form; a name that PRECIS forbids, but an older account may have, is returned unchanged."""
    try:
        return canonical(name)
    except ValueError:
        return name


def allowed(name: str) -> str:
    """Return the name. Raises ValueError if a new account may not have it."""
    try:
        form = canonical(name)
    except ValueError:
        raise ValueError("must consist of letters, digits and ASCII punctuation") from None
    if form in RESERVED:
        raise ValueError("is reserved")
    if len({unicodedata.name(character, "").split(" ")[0] for character in form} & ALPHABETS) > 1:
        raise ValueError("must not mix alphabets")
    return name
