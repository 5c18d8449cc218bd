"""Load by wrk: one kind of request, in a closed loop or with pauses."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True)
class Result:
    """The results of the requests.

    answers: all; failed: those from 400 on; refused: those of them that are a 503 with Retry-After, counted only with
    pauses; lost: requests without an answer in time; p50, p99, max: seconds until the answer.
    """

    answers: int
    seconds: float
    failed: int
    refused: int
    lost: int
    p50: float
    p99: float
    max: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    @property
    def good(self) -> int:
        return self.answers - self.failed

    @property
    def errors(self) -> int:
        return self.failed + self.lost


def wrk(
    url: str,
    *,
    connections: int,
    seconds: int,
    method: str = "GET",
    body: str = "",
    headers: Mapping[str, str] | None = None,
    pause: float = 0,
    timeout: int = 2,
) -> Result:
    """Send requests for so long; with a pause (seconds) each connection waits after its answer."""
    require_wrk()
    arguments = [part for header in (headers or {}).items() for part in header]
    ended = subprocess.run(
        ["wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s", f"--timeout={timeout}s",
         f"--script={SCRIPT}", url, "--", method, body, *arguments],
        env={**os.environ, **({"PAUSE": str(int(pause * 1000))} if pause else {})},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Result(**json.loads(ended.stdout.splitlines()[-1]))


def require_wrk() -> None:
    """End with the command that installs it where wrk is missing."""
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt install wrk (macOS: brew install wrk)")
