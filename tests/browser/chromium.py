"""The browser that the tests drive: the system's, or the one that Playwright downloads once into its own cache."""

import os
import shutil
import subprocess
import sys

import pytest
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

# The first is the same engine without a desktop's parts, and takes half the CPU.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
MISSING = (
    "The browser tests need Chromium, and Playwright could not download it. "
    "Install it (Debian: apt install chromium-headless-shell), or name it: CHROMIUM=/path/to/chromium"
)
# Playwright tries five times, and waits this long for the server each time.
DOWNLOAD_PATIENCE_MS = "5000"


def prepare() -> None:
    """Find a browser or download it. Raises pytest.UsageError when there is none."""
    named = os.environ.get("CHROMIUM")
    if named and not shutil.which(named):
        raise pytest.UsageError(f"CHROMIUM={named}: there is no such program")
    if found := named or next(filter(None, map(shutil.which, NAMES)), None):
        # Processes that pytest starts take it from here.
        os.environ["CHROMIUM"] = found
    elif not _is_downloaded():
        print("Downloading Chromium for the browser tests, once", flush=True)
        subprocess.run(
            [sys.executable, "-m", "playwright", "install", "chromium-headless-shell"],
            env={**os.environ, "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": DOWNLOAD_PATIENCE_MS},
            capture_output=True,
            check=False,
        )
        if not _is_downloaded():
            raise pytest.UsageError(MISSING)


def launch(playwright: Playwright) -> Browser:
    """Start the browser that `prepare` found."""
    arguments = ["--disable-gpu", "--disable-background-networking"]
    return playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM"), args=arguments)


def _is_downloaded() -> bool:
    """Say whether Playwright's own browser starts: it may also lack a library of the system."""
    with sync_playwright() as playwright:
        try:
            launch(playwright).close()
        except Error:
            return False
    return True
