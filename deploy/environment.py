"""Creates `.venv` and installs the dependencies of a target, pinned and hashed: `python -m deploy.environment local`.

Uses uv if available, else pip. Options for the source of packages (index, mirror, certificate, proxy) are read from
pip's configuration, also for uv, which does not read it; options for their destination (`user`, `target`, `prefix`)
are ignored. Runs before `.venv` exists, on any Python that is new enough.
"""

from __future__ import annotations

import configparser
import fcntl
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.checks import missing
from deploy.doctor.finding import said

VENV = Path(".venv")
PYTHON = VENV / "bin/python"
# `python -m pip`, but SIGINT ends it without a traceback, which would only show what it was importing.
PIP = "import runpy, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); runpy.run_module('pip', run_name='__main__')"
# The downloads for each file in requirements/, without a cache. Measured on Linux, x86-64.
MEGABYTES = {"local": 61, "traffic": 19, "dev": 257}
# pip's options for the source of packages.
SOURCES = {
    *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "client-cert", "proxy"),
    *("timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir", "keyring-provider", "use-feature"),
}
# The prefixes of uv's variables for the same.
UV_SOURCES = (
    *("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_FIND_LINKS", "UV_NO_INDEX", "UV_OFFLINE", "UV_HTTP"),
    *("UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_INSECURE_HOST", "UV_KEYRING", "UV_CACHE", "UV_NO_CACHE", "UV_LINK_MODE"),
    *("UV_CONCURRENT", "UV_CONFIG_FILE", "UV_NO_CONFIG"),
)
MIRROR = "If the package index cannot be reached from here, name a mirror: PIP_INDEX_URL=https://MIRROR/simple make"


def main(name: str = "") -> int:
    """Create .venv if missing; install requirements/NAME.txt and create .venv/NAME.done. Returns the exit code."""
    if not name and works():
        return 0
    if found := missing(("python", "venv", "system", "folder", "file-system")):
        print(*found, sep="\n", file=sys.stderr)
        return 1
    if not name:
        return 0 if make_environment() else 1
    requirements = Path("requirements") / f"{name}.txt"
    lines = requirements.read_text(encoding="utf-8").splitlines()
    count = sum(1 for line in lines if "==" in line and line[0].isalnum())
    tool = "uv" if shutil.which("uv") else "pip"
    size = f": {MEGABYTES[name]} MB to download, less what is cached" if name in MEGABYTES else ""
    print(f"Installing {count} packages of {requirements} into .venv with {tool}, once{size}", flush=True)
    with (VENV / "lock").open("w") as lock:
        # Two terminals may run this concurrently.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (tool == "uv" and with_uv(requirements)) and not with_pip(requirements, count):
            print(
                f"{requirements} could not be installed. {MIRROR} {os.environ.get('TYPED') or 'run'}", file=sys.stderr
            )
            return 1
    (VENV / f"{name}.done").touch()
    return 0


def works() -> bool:
    """Return whether .venv has a Python that starts, and scripts with the path of this folder, which may have moved."""
    here = str(PYTHON.parent.resolve() / "python")
    try:
        text = (PYTHON.parent / "pip").read_text(encoding="utf-8")
    except OSError:
        return False
    names_this = here in text or shlex.quote(here) in text
    return names_this and said(str(PYTHON), "-c", "import pip")[0]


def make_environment() -> bool:
    """Create .venv, or create it again; on failure print the output of the tool."""
    was_there = os.path.lexists(VENV)
    if (VENV / "pyvenv.cfg").exists():
        print(
            "The environment in .venv belongs to another folder or has lost its Python: it is created again", flush=True
        )
    commands = []
    if shutil.which("uv"):
        clear = ("--clear",) if was_there else ()
        commands.append(("uv", "venv", "--quiet", "--seed", *clear, "--python", sys.executable, str(VENV)))
    if importlib.util.find_spec("ensurepip"):
        commands.append((sys.executable, "-m", "venv", "--clear", str(VENV)))
    for command in commands:
        environment = uv_environment(pip_options()) if command[0] == "uv" else pip_environment({})
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
        except KeyboardInterrupt:
            # Half an environment could not be repaired at the next start.
            shutil.rmtree(VENV, ignore_errors=True)
            raise
        if done.returncode == 0:
            return True
    print((done.stdout + done.stderr).strip(), file=sys.stderr)
    print(f"{sys.executable} could not create .venv: see its output above", file=sys.stderr)
    shutil.rmtree(VENV, ignore_errors=True)
    return False


def with_uv(requirements: Path) -> bool:
    """Install with uv; return False if it fails, so that pip is tried."""
    options = pip_options()
    command = ["uv", "pip", "install", "--python", str(PYTHON), "--no-deps", "--require-hashes", "--compile-bytecode"]
    command += [*uv_arguments(options), "--requirement", str(requirements)]
    if not sys.stderr.isatty():
        command.append("--quiet")
    if subprocess.run(command, check=False, env=uv_environment(options)).returncode == 0:  # noqa: S603
        return True
    print("uv failed: trying pip", flush=True)
    return False


def with_pip(requirements: Path, count: int) -> bool:
    """Install with pip; on a terminal with a progress line."""
    command = [str(PYTHON), "-c", PIP, "install", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command += ["--requirement", str(requirements)]
    environment = pip_environment(pip_options())
    if not sys.stdout.isatty():
        return subprocess.run([*command, "--quiet"], check=False, env=environment).returncode == 0  # noqa: S603
    command.append("--progress-bar=off")
    seen = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace", env=environment) as process:  # noqa: S603
        for line in process.stdout or ():
            word, _, rest = line.strip().partition(" ")
            if word in ("Collecting", "Requirement"):
                seen += 1
                show(f"  {seen} of {count}: {rest.removeprefix('already satisfied: ').partition(' ')[0]}")
            elif word == "Downloading":
                show(f"  {seen} of {count}: {rest.rpartition('/')[2]}")
            elif word == "Installing":
                show("  unpacking them")
    show("")
    return process.returncode == 0


def show(text: str) -> None:
    """Replace the progress line."""
    width = shutil.get_terminal_size().columns - 1
    print(f"\r\033[K{text[:width]}", end="", flush=True)


def pip_options() -> dict[str, str]:
    """Return pip's options for the source of packages: from its files, then from variables.

    Not from `pip config list`, which fails if the option `user` is set.
    """
    options: dict[str, str] = {}
    parser = configparser.RawConfigParser()
    parser.read(pip_files(), encoding="utf-8")
    for section in ("global", "install"):
        options.update(parser.items(section) if parser.has_section(section) else ())
    for name, value in os.environ.items():
        if name.startswith("PIP_"):
            options[name[4:].lower()] = value
    options = {name.replace("_", "-"): value for name, value in options.items()}
    return {name: value for name, value in options.items() if name in SOURCES and value}


def pip_files() -> list[str]:
    """Return pip's configuration files, in ascending precedence (pip's documentation, "Configuration Files")."""
    home, named = Path.home(), os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    machine = [*os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"), "/Library/Application Support"]
    own = [os.environ.get("XDG_CONFIG_HOME") or str(home / ".config"), str(home / "Library/Application Support")]
    files = [*(f"{folder}/pip/pip.conf" for folder in machine), "/etc/pip.conf"]
    if not Path(named).is_file():
        files += [str(home / ".pip/pip.conf"), *(f"{folder}/pip/pip.conf" for folder in own)]
    return [*files, f"{sys.prefix}/pip.conf", named]


def pip_environment(options: dict[str, str]) -> dict[str, str]:
    """Return the environment of pip: no configuration except these options."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    found |= {f"PIP_{name.upper().replace('-', '_')}": value for name, value in options.items()}
    return {**found, "PIP_CONFIG_FILE": os.devnull}


def uv_arguments(options: dict[str, str]) -> Iterator[str]:
    """Yield pip's options as arguments of uv. uv's own variables take precedence."""
    if not any(name in os.environ for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX")) and "index-url" in options:
        yield from ("--index-url", options["index-url"])
    for name, other in (("extra-index-url", ""), ("find-links", ""), ("trusted-host", "--allow-insecure-host")):
        for value in options.get(name, "").split():
            yield from (other or f"--{name}", value)
    if "extra-index-url" in options:
        # As pip: from any index. Packages are pinned by their hashes.
        yield from ("--index-strategy", "unsafe-best-match")
    if options.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        yield "--no-index"
    if "keyring-provider" in options:
        yield from ("--keyring-provider", options["keyring-provider"])


def uv_environment(options: dict[str, str]) -> dict[str, str]:
    """Return the environment of uv: its own variables for the source of packages, and options without an argument."""
    kept = (name for name in os.environ if not name.startswith("UV_") or name.startswith(UV_SOURCES))
    found = {name: os.environ[name] for name in kept if name != "VIRTUAL_ENV"}
    for name, variable in (("cert", "SSL_CERT_FILE"), ("client-cert", "SSL_CLIENT_CERT"), ("proxy", "ALL_PROXY"),
                           ("default-timeout", "UV_HTTP_TIMEOUT"), ("timeout", "UV_HTTP_TIMEOUT")):  # fmt: skip
        if name in options:
            found.setdefault(variable, options[name])
    return found


if __name__ == "__main__":
    try:
        # The Makefile blocks SIGINT while Python starts.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nStopped: the next start continues from here", file=sys.stderr)
        sys.exit(130)
