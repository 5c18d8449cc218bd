"""Ask the Python Package Index for the known vulnerabilities of all that is pinned here.

The exit code is 1 if there are any. Where the index does not tell, it says so and ends with 0: a registry that only
serves files must not stop the audit. Another index can be named as the argument.
"""

import re
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from pip._internal.models.index import PyPI

PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[.*\])?==([^\s;]+)", re.MULTILINE)


def vulnerabilities(client: httpx.Client, name: str, version: str) -> list[str]:
    """Return a line for each one of this release. Raises httpx.HTTPError or ValueError when the index does not tell."""
    answer = client.get(f"/{name}/{version}/json").raise_for_status().json()
    try:
        known = [each for each in answer["vulnerabilities"] if not each.get("withdrawn")]
    except (KeyError, TypeError):
        raise ValueError("the answer lists no vulnerabilities") from None
    return [f"{name} {version}: {each['id']}, fixed in {', '.join(each['fixed_in']) or 'none'}" for each in known]


def main(index: str = PyPI.pypi_url) -> int:
    """Check every pinned release once; return the exit code."""
    pins = sorted({pin for file in Path(__file__).parent.glob("*.txt") for pin in PIN.findall(file.read_text())})
    # The machine's own certificates, as pip uses them.
    with httpx.Client(base_url=index, timeout=20, follow_redirects=True, verify=ssl.create_default_context()) as client:

        def check(pin: tuple[str, str]) -> list[str] | str:
            try:
                return vulnerabilities(client, *pin)
            except (httpx.HTTPError, ValueError) as error:
                return f"Not audited: {' '.join(pin)}: {str(error).splitlines()[0]}"

        if isinstance(first := check(pins[0]), str):
            # Whoever does not tell about one will not about the others.
            print(f"{first}\nNo audit: {index} does not tell known vulnerabilities here")
            return 0
        with ThreadPoolExecutor(8) as threads:
            answers = [first, *threads.map(check, pins[1:])]
    found = [line for answer in answers if isinstance(answer, list) for line in answer]
    unknown = [answer for answer in answers if isinstance(answer, str)]
    print("\n".join((*found, *unknown, f"{len(found)} known vulnerabilities in {len(pins) - len(unknown)} releases")))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
