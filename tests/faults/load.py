"""wrk, the load generator."""

import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Rate:
    """Answers in a second, how many of all were errors, and the slowest but one in a hundred (seconds)."""

    per_second: float
    answers: int
    errors: int
    slow: float


def wrk(url: str, *, connections: int, seconds: int) -> Rate:
    """Send requests as fast as the answers come."""
    if not shutil.which("wrk"):
        pytest.fail("wrk is missing: apt install wrk (macOS: brew install wrk)")
    command = ["wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s", "--latency", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def number(pattern: str) -> float:
        found = re.search(pattern, text)
        return float(found[1]) if found else 0

    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    assert slow, text
    lost = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    return Rate(
        per_second=number(r"Requests/sec:\s+([\d.]+)"),
        answers=int(number(r"(\d+) requests in")),
        errors=int(number(r"Non-2xx or 3xx responses: (\d+)")) + lost,
        slow=float(slow[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[slow[2]],
    )
