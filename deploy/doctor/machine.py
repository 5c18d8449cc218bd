"""Checks of this machine, one function each. None needs `.venv`."""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import mmap
import os
import platform
import re
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from deploy.doctor.access import kubectl_version
from deploy.doctor.finding import (
    AMBIENT,
    IMAGES,
    ISTIO,
    KNATIVE,
    MISSING,
    NOTE,
    OK,
    RUN,
    TEST,
    Finding,
    listed,
    minor,
    said,
)
from deploy.local import files, here, ports

# Relative to the folder in which make runs.
PYTHON_SH, VENV = "deploy/scripts/python.sh", Path(".venv")
EVERYTHING = (RUN, TEST)
SETS = (ISTIO, AMBIENT, KNATIVE)
# The size of `.venv` for `make test`, and of pip's cache.
DISK = 2 * 1024**3
NEWEST_PYTHON = (3, 14)
GIB = 1024**3
# Resource limits that a shell or service manager may set, and the minimum for `make run`.
LIMITS = (
    ("open files", "ulimit -n", resource.RLIMIT_NOFILE, 512, ""),
    ("the size of a file", "ulimit -f", resource.RLIMIT_FSIZE, GIB, "bytes"),
    ("address space", "ulimit -v", resource.RLIMIT_AS, 8 * GIB, "bytes"),
    ("CPU time", "ulimit -t", resource.RLIMIT_CPU, 24 * 3600, "seconds"),
)
# The first is the same engine without a desktop UI, and uses half the CPU.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The install commands; none for Ubuntu, whose package is a snap.
BROWSER_COMMANDS = {
    "ubuntu": "",
    "debian": "sudo apt-get install chromium-headless-shell",
    "fedora": "sudo dnf install chromium-headless",
    "arch": "sudo pacman -S chromium",
    "suse": "sudo zypper install chromium",
}


# The install commands of the Linux distributions.
PACKAGES = {
    "ubuntu": "sudo apt-get install",
    "debian": "sudo apt-get install",
    "fedora": "sudo dnf install",
    "arch": "sudo pacman -S",
    "suse": "sudo zypper install",
}
KIND_PAGE = "https://kind.sigs.k8s.io/docs/user/quick-start/#installation"
MAKE_CLUSTER = ("make cluster",)
COMPOSE = ("deploy/compose.yaml",)


def python() -> Finding:
    """The Python that `make` uses, and its optional modules."""
    found, words = said("sh", PYTHON_SH)
    if not found:
        what, _, fix = words.partition(": ")
        return Finding("Python", MISSING, what, EVERYTHING, fix)
    version = f"Python {platform.python_version()}, {sys.executable}"
    # A Python that was built from source lacks modules whose libraries were missing.
    lacking = [
        name.strip("_") for name in ("_ssl", "_sqlite3", "zlib", "_ctypes") if not importlib.util.find_spec(name)
    ]
    if lacking:
        fix = "install their libraries and build it again, or put your system's Python first in PATH"
        return Finding("Python", MISSING, f"{version}, was built without {listed(lacking)}", EVERYTHING, fix)
    if sys.version_info[:2] > NEWEST_PYTHON:
        newest = ".".join(map(str, NEWEST_PYTHON))
        what = f"{version} is newer than {newest}: some dependencies may have no packages for it yet"
        return Finding(
            "Python", NOTE, what, EVERYTHING, f"install Python {newest} beside it, if the installation fails"
        )
    return Finding("Python", OK, version, EVERYTHING)


def venv() -> Finding:
    """Whether `.venv` works, or can be created."""
    if said(str(VENV / "bin/python"), "-c", "")[0]:
        done = sorted(path.stem for path in VENV.glob("*.done"))
        return Finding("venv", OK, f".venv is there, with {listed(done)}" if done else ".venv is there", EVERYTHING)
    if os.path.lexists(VENV) and not (VENV / "pyvenv.cfg").exists() and not _is_empty(VENV):
        return Finding(
            "venv", MISSING, ".venv is there, and is no Python environment", EVERYTHING, "mv .venv .venv.old"
        )
    if os.pathsep in str(Path.cwd()):
        what = f"the folder's name has a {os.pathsep}, which no Python environment can have"
        return Finding("venv", MISSING, what, EVERYTHING, "move it to a folder without one")
    if shutil.which("uv"):
        return Finding("venv", OK, "uv makes .venv at the first start", EVERYTHING)
    if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        what = "Python's module venv is missing"
        return Finding("venv", MISSING, what, EVERYTHING, f"apt install {package} (Debian, Ubuntu), or install uv")
    return Finding("venv", OK, "Python's venv makes .venv at the first start", EVERYTHING)


def package_command(name: str, **names: str) -> str:
    """Return the command that installs a package here. names: of the package in distributions where it differs."""
    if platform.system() == "Darwin":
        return f"brew install {name}"
    kind = distribution()
    command = PACKAGES.get(kind)
    return f"{command} {names.get(kind, name)}" if command else f"your system's package manager has {name}"


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def system() -> Finding:
    """The platform: Envoy exists only for these."""
    kind = f"{platform.system()} on {platform.machine()}"
    if platform.system() not in ("Linux", "Darwin"):
        return Finding("system", MISSING, f"{kind}: neither Linux nor macOS", EVERYTHING, "on Windows use WSL 2")
    if platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"):
        fix = "docker compose --file deploy/compose.yaml up --build"
        return Finding("system", MISSING, f"{kind}: there is no Envoy for it", EVERYTHING, fix)
    library, version = platform.libc_ver()
    if platform.system() == "Linux" and library != "glibc":
        fix = "use Debian, Ubuntu or Fedora, or docker compose --file deploy/compose.yaml up --build"
        return Finding("system", MISSING, f"{kind} without glibc: there is no Envoy for it", EVERYTHING, fix)
    if library == "glibc" and tuple(map(int, version.split(".")[:2])) < (2, 31):
        fix = "use Debian 11, Ubuntu 20.04 or newer"
        return Finding("system", MISSING, f"{kind}, glibc {version}: Envoy needs 2.31", EVERYTHING, fix)
    return Finding("system", OK, kind, EVERYTHING)


def file_system() -> list[Finding]:
    """Whether the file system of this folder supports links, locks and programs. Empty if it is not writable."""
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=Path.cwd()) as directory:
            lacking = _lacking(Path(directory))
    except OSError:
        return []
    if lacking:
        what = f"the file system of {Path.cwd()} has no {listed(lacking)}"
        fix = (
            "copy the folder to a disk of this machine, such as your home (not a USB stick, /mnt/c or a network drive)"
        )
        return [Finding("file system", MISSING, what, EVERYTHING, fix)]
    return [Finding("file system", OK, "links, locks and programs work here", EVERYTHING)]


def folder() -> list[Finding]:
    """Whether this folder, the data and `.venv` are writable, and the free space on their disk."""
    try:
        tempfile.TemporaryDirectory(prefix=".doctor-", dir=Path.cwd()).cleanup()
    except OSError as error:
        what = f"{Path.cwd()} cannot be written: {error.strerror}"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "free some space" if full else "copy the folder to where you may write, such as your home"
        return [Finding("folder", MISSING, what, EVERYTHING, fix)]
    found = []
    for name in ("data", ".venv"):
        path = Path(name)
        wrong = [each for each in (path, *path.glob("*")) if each.exists() and not os.access(each, os.W_OK)]
        if wrong:
            why, fix = files.not_writable(wrong[0])
            found.append(Finding("folder", MISSING, f"{wrong[0]}: {why}", EVERYTHING, fix))
    free = shutil.disk_usage(Path.cwd()).free
    if free < DISK and not (VENV / "dev.done").exists():
        what = f"{free / GIB:.1f} GB are free, and {DISK / GIB:.0f} are needed for all of .venv"
        found.append(Finding("folder", NOTE, what, (TEST,), "free some space"))
    return found or [Finding("folder", OK, f"it can be written, and {free / GIB:.0f} GB are free", EVERYTHING)]


def _lacking(directory: Path) -> list[str]:
    """Return the features that `make run` needs and the file system lacks."""
    import sqlite3

    lacking = []
    file = directory / "file"
    file.write_bytes(b"0" * mmap.PAGESIZE)
    try:
        (directory / "link").symlink_to(file)
    except OSError:
        lacking.append("symbolic links")
    try:
        with file.open("r+b") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(opened, fcntl.LOCK_UN)
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lacking.append("locks")
    try:
        # As SQLite does it: its write-ahead log is shared memory.
        database = sqlite3.connect(str(directory / "database"))
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE t (c)")
        finally:
            database.close()
    except sqlite3.Error:
        lacking.append("shared memory for SQLite")
    program = directory / "program"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o700)
    if not said(str(program))[0]:
        lacking.append("right to run programs (it is mounted noexec)")
    return lacking


def localhost() -> Finding:
    """Whether `localhost` resolves to 127.0.0.1 in a browser, where `make run` listens."""
    fix = "put the line `127.0.0.1 localhost` into /etc/hosts, or open http://127.0.0.1 in place of http://localhost"
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    except OSError as error:
        return Finding("localhost", NOTE, f"the name localhost is unknown ({error.strerror})", (RUN,), fix)
    if "127.0.0.1" not in addresses:
        return Finding("localhost", NOTE, f"localhost is {listed(sorted(addresses))}", (RUN,), fix)
    return Finding("localhost", OK, f"localhost is {listed(sorted(addresses))}", (RUN,))


def free_ports(environment: Mapping[str, str] = os.environ) -> Finding:
    """Whether all ports of `make run` are free; else the PORT_OFFSET that avoids the conflict."""
    try:
        running = here.current()
    except OSError:
        # No locks: reported by another row.
        running = None
    if running:
        return Finding("ports", OK, f"`make run` is on in this folder, at {running.url}", (RUN,))
    try:
        wanted = ports.chosen(environment)
    except ValueError as error:
        what, _, fix = str(error).partition(": ")
        return Finding("ports", MISSING, what, (RUN,), fix)
    reasons = {port: why_not(port, for_browser=name in ports.OPENED) for name, port in wanted.items()}
    forbidden = [port for port, why in reasons.items() if why == "forbidden"]
    if forbidden:
        name = next(name for name, port in wanted.items() if port == forbidden[0])
        what = f"{name}={forbidden[0]} is a port that only root may listen on"
        return Finding(
            "ports", MISSING, what, (RUN,), f"choose one above 1023, such as {name}={forbidden[0] + 8000} make run"
        )
    taken = sorted(port for port, why in reasons.items() if why)
    if taken:
        what = f"Port{'s' if taken[1:] else ''} {listed(taken)} {'are' if taken[1:] else 'is'} in use"
        if all("::1" in reasons[port] for port in taken):
            what += " at [::1], where a browser looks for localhost first"
        fix = "stop what uses it, or move all ports: " if not taken[1:] else "stop what uses them, or move all ports: "
        return Finding("ports", MISSING, what, (RUN,), f"{fix}PORT_OFFSET={_free_offset()} make run")
    return Finding("ports", OK, f"{listed(sorted(reasons))} are free", (RUN,))


def _free_offset() -> int:
    """Return the first offset, in hundreds, with which all ports are free."""
    for offset in range(100, 20_000, 100):
        moved = ports.chosen({"PORT_OFFSET": str(offset)})
        if not any(why_not(port, for_browser=name in ports.OPENED) for name, port in moved.items()):
            return offset
    return 100


def why_not(port: int, *, for_browser: bool) -> str:
    """Return why a port of this machine cannot be used, or "".

    for_browser: whether it is opened as `localhost`, which may be ::1.
    """
    families = [(socket.AF_INET, "127.0.0.1")]
    if for_browser and socket.has_ipv6:
        families.append((socket.AF_INET6, "::1"))
    for family, address in families:
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"in use at {address}"
            if error.errno in (errno.EACCES, errno.EPERM):
                return "forbidden"
            # There is no IPv6.
            continue
        # macOS allows two programs to bind a port, if one binds all addresses.
        with socket.socket(family) as caller:
            caller.settimeout(1)
            if caller.connect_ex((address, port)) == 0 and caller.getsockname() != caller.getpeername():
                return f"in use at {address}"
    return ""


def limits() -> Finding:
    """Hard resource limits; `make run` raises the soft ones."""
    for what, command, number, needed, unit in LIMITS:
        hard = resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY and hard < needed:
            limit = f"{what}: at most {hard} {unit}".rstrip()
            fix = f"raise the limit (`{command}`, /etc/security/limits.conf) to {needed}"
            return Finding("limits", MISSING, f"this shell limits {limit}", EVERYTHING, fix)
    return Finding("limits", OK, "none that is too low", EVERYTHING)


def inotify() -> list[Finding]:
    """Whether Envoy can watch its files, and kind can run its nodes. Linux only."""
    settings = Path("/proc/sys/fs/inotify")
    if not settings.is_dir():
        return []
    import ctypes

    library = ctypes.CDLL(None)
    descriptor = library.inotify_init1(0)
    instances, watches = (int((settings / name).read_text()) for name in ("max_user_instances", "max_user_watches"))
    fix = "sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288"
    if descriptor < 0:
        what = f"no inotify instance is left of {instances}: Envoy cannot watch its files"
        return [Finding("inotify", MISSING, what, (RUN,), fix)]
    watch = library.inotify_add_watch(descriptor, b".", 0x80)
    os.close(descriptor)
    if watch < 0:
        return [Finding("inotify", MISSING, f"no inotify watch is left of {watches}", (RUN,), fix)]
    if instances < 512 and shutil.which("kind"):
        what = f"{instances} instances: enough for `make run`, few for kind, whose pods then say `too many open files`"
        return [Finding("inotify", NOTE, what, SETS, fix)]
    return [Finding("inotify", OK, f"{instances} instances, {watches} watches", (RUN,))]


def surroundings(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Problems in the environment that the commands cannot work around."""
    found = []
    for name in ("TMPDIR", "HOME"):
        value = environment.get(name)
        if value and not os.access(value, os.W_OK | os.X_OK):
            what = (
                f"{name}={value} cannot be written, so downloads are not kept"
                if name == "HOME"
                else (f"{name}={value} is no folder that can be written")
            )
            found.append(Finding("shell", NOTE, what, EVERYTHING, f"export {name} with another folder"))
    if not shutil.which("ps"):
        what = "ps is missing: `make run` does not notice when make alone is stopped"
        fix = package_command("procps", fedora="procps-ng", arch="procps-ng")
        found.append(Finding("shell", NOTE, what, (RUN,), fix))
    return found


def distribution() -> str:
    """Return the Linux distribution, such as debian, fedora or arch, or the one that it derives from, or ""."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return ""
    named = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    kinds = f"{named.get('ID', '')} {named.get('ID_LIKE', '')}".replace('"', "").split()
    return next((kind for kind in kinds if kind in BROWSER_COMMANDS), "")


def browser_command() -> str:
    """Return the command that installs a browser."""
    if platform.system() == "Darwin":
        return "brew install --cask chromium"
    other = "sudo .venv/bin/python -m playwright install --with-deps chromium-headless-shell"
    return BROWSER_COMMANDS.get(distribution()) or other


def browser(environment: Mapping[str, str] = os.environ) -> Finding:
    """The browser of `make test`."""
    named = environment.get("CHROMIUM")
    if named and not shutil.which(named):
        return Finding("browser", MISSING, f"CHROMIUM={named}: there is no such program", (TEST,), "unset CHROMIUM")
    # As the tests find it; before their first run, only by name.
    if (VENV / "dev.done").exists():
        found, words = said(str(VENV / "bin/python"), "-m", "tests.browser.chromium", timeout=60)
    else:
        words = named or next(filter(None, map(shutil.which, BROWSERS)), "")
        found = bool(words)
    if found:
        return Finding("browser", OK, words, (TEST,))
    what = "no Chromium that starts: `make test` downloads one, or leaves the browser tests out"
    return Finding("browser", NOTE, what, (TEST,), browser_command())


@cache
def docker_info() -> tuple[bool, str]:
    """Return whether Docker answers, and the output of `docker info`, or its last error."""
    return said("docker", "info")


def compose() -> list[Finding]:
    """Docker Compose, for deploy/compose.yaml. Empty if Docker itself does not answer."""
    if not shutil.which("docker") or not docker_info()[0]:
        return []
    there, version = said("docker", "compose", "version", "--short")
    if there:
        return [Finding("compose", OK, version, COMPOSE)]
    what = "Docker Compose v2 is missing, the plugin `docker compose`"
    fix = "install docker-compose-plugin (of Docker's own packages) or docker-compose-v2 (of your system's)"
    return [Finding("compose", NOTE, what, COMPOSE, fix)]


def docker() -> Finding:
    """Docker: the client, and whether the daemon answers."""
    if not shutil.which("docker"):
        fix = "https://docs.docker.com/get-started/get-docker/ explains how to install it"
        return Finding("Docker", MISSING, "docker is missing", (IMAGES,), fix)
    answers, words = docker_info()
    if not answers:
        what = "this user may not use Docker" if "permission denied" in words else "Docker does not answer"
        return Finding("Docker", MISSING, f"{what} ({words})", (IMAGES,), _start_docker(words))
    return Finding("Docker", OK, _of_docker(r"Server Version: (.*)") or "it answers", (IMAGES,))


def _start_docker(words: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return how to start the daemon, by the address in the client's error."""
    named = re.search(r"(?:unix|tcp|ssh)://[^\s?,\"]+|(?<=dial unix )[^\s:]+", words)
    where = (named.group() if named else environment.get("DOCKER_HOST", "")).rstrip(".")
    linux, systemd = platform.system() == "Linux", Path("/run/systemd/system").is_dir()
    fixes = (
        (
            where.startswith(("tcp:", "ssh:")),
            f"start it at {where}, or `unset DOCKER_HOST; docker context use default`",
        ),
        ("/.colima/" in where or (not linux and shutil.which("colima")), "colima start"),
        (not linux or "/.docker/" in where, "start Docker Desktop"),
        ("/run/user/" in where, "systemctl --user start docker"),
        ("permission denied" in words, "sudo usermod -aG docker $(id -un), then log in again"),
        (
            "microsoft" in platform.release().lower() and not systemd,
            "start Docker Desktop, with its WSL integration on",
        ),
        (
            not shutil.which("dockerd"),
            "only Docker's client is here: https://docs.docker.com/engine/install/ has the rest",
        ),
        (systemd, "sudo systemctl start docker"),
    )
    return next((fix for applies, fix in fixes if applies), "sudo service docker start")


def buildx(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Docker's builder. Empty if Docker itself does not answer."""
    if not shutil.which("docker") or not docker_info()[0]:
        return []
    # Docker 20 prints it in one line.
    version = _of_docker(r"buildx: .*\n\s*Version: +(.*)") or _of_docker(r"buildx: .*, (v[^)\s]+)\)")
    # Debian 12 has Docker 20, whose client brings the builder for one platform.
    _, client = said("docker", "version", "--format={{.Client.Version}}")
    if not version and re.match(r"2[0-2]\.", client) and "," not in environment.get("PLATFORMS", ""):
        return [Finding("buildx", OK, f"the builder that is in Docker {client}, for one platform", (IMAGES,))]
    # Not Podman, which some systems install as `docker`: it has a builder.
    if not version and "Client:" in docker_info()[1]:
        fix = "install docker-buildx-plugin (of Docker's own packages) or docker-buildx (of your system's)"
        return [Finding("buildx", MISSING, "Docker's buildx is missing, which builds the images", (IMAGES,), fix)]
    return [Finding("buildx", OK, version, (IMAGES,))] if version else []


def image_store() -> list[Finding]:
    """Where Docker keeps images."""
    driver = _of_docker(r"Storage Driver: (.*)") if shutil.which("docker") else ""
    if "io.containerd.snapshotter" in docker_info()[1]:
        what = "containerd's image store: `kind load` of an image for several platforms is known to fail"
        return [Finding("image store", NOTE, what, (IMAGES,), "make build push REGISTRY=localhost:5001")]
    return [Finding("image store", OK, driver, (IMAGES,))] if driver else []


def _of_docker(pattern: str) -> str:
    answers, words = docker_info()
    match = re.search(pattern, words) if answers else None
    return match.group(1).strip() if match else ""


def tools() -> list[Finding]:
    """kubectl, if it is missing; its version is in another row."""
    return [] if shutil.which("kubectl") else [kubectl_version()]


def curl() -> list[Finding]:
    """curl, if it is missing: the targets for a cluster need it."""
    if shutil.which("curl"):
        return []
    what = "curl is missing, which `make install-istio` needs"
    return [Finding("curl", MISSING, what, SETS, package_command("curl"))]


def kind() -> list[Finding]:
    """kind, if it is missing: only `make cluster` needs it."""
    if shutil.which("kind"):
        return []
    return [Finding("kind", MISSING, "kind is missing", MAKE_CLUSTER, f"{KIND_PAGE} explains how to install it")]


def kind_version(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Whether kind creates clusters that are new enough. Empty if it is missing."""
    if not shutil.which("kind"):
        return []
    match = re.match(r"kind v?([0-9.]+)", said("kind", "version")[1])
    version, oldest = match.group(1) if match else "", environment.get("KIND_OLDEST", "")
    if version and oldest and minor(version) < minor(oldest):
        what = f"kind is {version}, and makes clusters older than Kubernetes {environment.get('KUBERNETES_OLDEST', '')}"
        return [Finding("kind", MISSING, what, MAKE_CLUSTER, f"update it to {oldest} or newer ({KIND_PAGE})")]
    return [Finding("kind", OK, version or "of unknown version", MAKE_CLUSTER)]
