"""The browser that the tests drive: the system's, the one that Playwright downloads once into its cache, or a package.

`python -m tests.browser.chromium` prints the one that is there, or ends with 1. It gets none.
"""

import os
import shutil
import subprocess
import sys

import pytest
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

from deploy.doctor import machine

PLAYWRIGHT = (sys.executable, "-m", "playwright")
# Playwright tries five times, and waits this long for the server each time.
CONNECTION_TIMEOUT_MS = "5000"
# The first is the same engine without a desktop's parts; Debian 11 has only the second.
PACKAGES = ("chromium-headless-shell", "chromium")


def prepare() -> bool:
    """Find a browser, or get one; return whether there is one. Raises pytest.UsageError where one is demanded."""
    if find():
        return True
    download()
    if not find() and os.geteuid() == 0 and machine.distribution() in ("debian", "ubuntu") and shutil.which("apt-get"):
        install()
    if find():
        return True
    if os.environ.get("CI", "").lower() in ("true", "1"):
        raise pytest.UsageError(f"the browser tests need Chromium: {machine.browser_command()}")
    return False


def find() -> bool:
    """Say whether there is a browser that starts; processes that pytest starts take it from CHROMIUM."""
    if named := os.environ.get("CHROMIUM"):
        if not shutil.which(named):
            raise pytest.UsageError(f"CHROMIUM={named}: there is no such program")
        return True
    for program in filter(None, map(shutil.which, machine.BROWSERS)):
        # Ubuntu's is a script that asks for a snap.
        if starts(program):
            os.environ["CHROMIUM"] = program
            return True
    return starts(None)


def download() -> None:
    """Let Playwright download its own."""
    print("Downloading Chromium for the browser tests, once: about 110 MB", flush=True)
    environment = {**os.environ, "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": CONNECTION_TIMEOUT_MS}
    command = [*PLAYWRIGHT, "install", "chromium-headless-shell"]
    subprocess.run(command, env=environment, capture_output=not sys.stdout.isatty(), check=False)


def install() -> None:
    """Install the system's package, or the libraries that Playwright's own lacks. For root, on Debian and Ubuntu."""
    print("Updating the list of packages: apt-get update", flush=True)
    run("apt-get", "update")
    if machine.distribution() == "ubuntu":
        # There the package is a snap, which a container cannot have.
        print("Installing the libraries of Playwright's Chromium: playwright install-deps", flush=True)
        run(*PLAYWRIGHT, "install-deps", "chromium-headless-shell")
        return
    for package in PACKAGES:
        print(f"Installing Chromium for the browser tests: apt-get install {package}", flush=True)
        if run("apt-get", "install", "--yes", "--no-install-recommends", package):
            return


def run(*command: str) -> bool:
    """Run a program that needs no answers; return whether it succeeded."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def launch(playwright: Playwright, program: str | None = None) -> Browser:
    """Start a browser: this program, the one that `prepare` found, or Playwright's own."""
    arguments = ["--disable-gpu", "--disable-background-networking"]
    return playwright.chromium.launch(executable_path=program or os.environ.get("CHROMIUM"), args=arguments)


def starts(program: str | None) -> bool:
    """Say whether a browser starts, Playwright's own unless it is named: it may lack a library of the system."""
    with sync_playwright() as playwright:
        try:
            launch(playwright, program).close()
        except Error:
            return False
    return True


if __name__ == "__main__":
    if not find():
        sys.exit(1)
    print(os.environ.get("CHROMIUM", "Playwright's own"))
