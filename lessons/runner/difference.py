"""What a lesson changes, as it is printed: what matters first, and all of it on demand.

A lesson's file marks what matters: a comment that begins with `#>` says what it is, and stands above a key whose whole
block it means.
"""

import re
import textwrap
from dataclasses import dataclass

MARK = "#> "
# If a mark replaces more lines than this, they are not shown.
REMOVED_AT_MOST = 6
WIDTH = 79
HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)")

# Words of Envoy's language, and of YAML, that need a sentence where they are met.
WORDS = {
    "STRICT_DNS": "Envoy looks the address up as a name (DNS), again and again, and calls every process that it finds.",
    "STATIC": "the addresses stand here, and nothing is looked up.",
    "pipe": "a Unix domain socket: an address that is a file, for calls within one machine.",
    "typed_config": 'the settings of a filter; "@type" says of which kind they are.',
    "runtime_fraction": "a share of the requests, as it could be changed at run time. Here default_value counts.",
    "numerator": "a share: so many of 100, unless a denominator says otherwise (HUNDRED, TEN_THOUSAND, MILLION).",
    "retriable_status_codes": "a read whose answer has one of these statuses is sent again.",
    "safe_regex": "a regular expression, which cannot take long.",
    "stat_prefix": "how the names of its counters begin.",
    "ignore_global_conn_limit": "the limit on connections is for those that come from outside.",
    "consecutive_gateway_failure": "so many 502, 503 or 504 in a row, and a process is ejected for a while.",
    "token_bucket": "each request takes a token out; without one it is refused. New ones come at a steady rate.",
    "allow_missing": "a request without a token passes.",
    "&name": "(YAML) gives what follows a name.",
    "*name": "(YAML) repeats what has that name further up.",
}


@dataclass(frozen=True)
class Mark:
    """What matters in a file. why: a sentence; lines: those that it means, without their indentation."""

    why: str
    lines: list[str]


def marks(text: str) -> list[Mark]:
    """Return what a lesson's file marks."""
    found, lines = [], text.splitlines()
    for number, line in enumerate(lines):
        if not line.lstrip().startswith(MARK):
            continue
        begin = next(index for index in range(number, len(lines)) if not is_comment(lines[index]))
        why = " ".join(comment.lstrip(" #>") for comment in lines[number:begin])
        end = begin + 1
        while end < len(lines) and lines[end].strip() and indentation(lines[end]) > indentation(lines[begin]):
            end += 1
        found.append(Mark(why, [one.strip() for one in lines[begin:end] if not is_comment(one)]))
    return found


def essence(diff: str, marked: list[Mark]) -> tuple[str, int]:
    """Return the marked lines of a diff, with what they replace, and how many other lines it adds or removes.

    The text is empty when none of the marked lines is in the diff.
    """
    parts, shown, lines = [], set[int](), diff.splitlines()
    for mark in marked:
        # What several marks replace is shown with the first.
        chosen = sorted(_find(lines, mark) - shown)
        # Lines that are there before and after only say where the others are.
        if not any(lines[index].startswith("+") for index in chosen):
            continue
        file = next(lines[index] for index in range(chosen[0], -1, -1) if lines[index].startswith("+++ "))
        name = file.removeprefix("+++ ").partition(",")[0]
        body = textwrap.dedent("\n".join(lines[index][1:] for index in chosen)).splitlines()
        signed = (f"    {lines[index][0]} {text}" for index, text in zip(chosen, body, strict=True))
        parts.append("\n".join([*wrap(f"{name}: {mark.why}", "  "), *signed]))
        shown.update(chosen)
    others = [index for index, line in enumerate(lines) if is_change(line) and index not in shown]
    return "\n\n".join(parts), len(others)


def _find(lines: list[str], mark: Mark) -> set[int]:
    """Return the numbers of the lines of a diff that a mark means, and of those that they replace."""
    present = [index for index, line in enumerate(lines) if line[:1] in ("+", " ") and not line.startswith("+++")]
    texts = [lines[index][1:].strip() for index in present]
    count = len(mark.lines)
    for start in range(len(texts) - count + 1):
        if texts[start : start + count] == mark.lines:
            found = set(present[start : start + count])
            break
    else:
        # A cluster's server may have put them into another order.
        found = {index for index in present if lines[index].startswith("+") and lines[index][1:].strip() in mark.lines}
    replaced = set()
    for index in found:
        if lines[index].startswith("+"):
            before = index
            while is_change(lines[before - 1]):
                before -= 1
            replaced |= {number for number in range(before, index) if lines[number].startswith("-")}
    return found | replaced if len(replaced) <= REMOVED_AT_MOST else found


def with_comments(diff: list[str], text: str) -> list[str]:
    """Return the diff of a file without its comments, with those that its new text has above the lines that it adds."""
    comments: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if is_comment(line):
            comments[-1].append(line)
        elif line.strip():
            comments.append([])
    result, number = [], 0
    for line in diff:
        if hunk := HUNK.match(line):
            number = int(hunk[1]) - 1
        elif line.startswith("+") and not line.startswith("+++"):
            result += [f"+{comment}" for comment in comments[number]]
        if line[:1] in ("+", " ") and not line.startswith("+++"):
            number += 1
        result.append(line)
    return result


def words(diff: str) -> str:
    """Return a line for each word in a diff that needs one."""
    forms = {"&name": r": &\w", "*name": r": \*\w"}
    met = [word for word in WORDS if re.search(forms.get(word, rf"\b{word}\b"), diff)]
    return "\n".join(line for word in met for line in wrap(f"{word}: {WORDS[word]}", "  "))


def wrap(text: str, indent: str = "", rest: str = "") -> list[str]:
    """Return a text in lines that fit into a narrow terminal. rest: the indentation of all but the first."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=rest or f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def is_comment(line: str) -> bool:
    """Return whether a line of YAML is a comment."""
    return line.lstrip().startswith("#")


def is_change(line: str) -> bool:
    """Return whether a line of a diff adds or removes something."""
    return line[:1] in ("+", "-") and not line.startswith(("+++", "---"))


def indentation(line: str) -> int:
    """Return how many blanks a line begins with."""
    return len(line) - len(line.lstrip())
