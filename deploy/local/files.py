"""Files of this folder: replacing one, and what to print when one cannot be used."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Name the file in an error that has none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def replace(path: Path, text: str) -> None:
    """Replace a file by renaming another one to its name: atomic, and Envoy reloads a file only after a rename."""
    new = path.with_suffix(".new")
    try:
        with named(new):
            new.write_text(text, encoding="utf-8")
        new.replace(path)
    finally:
        # Left behind if the disk is full.
        new.unlink(missing_ok=True)


def not_writable(file: Path) -> tuple[str, str]:
    """Return why a file below this folder, or what it is in, cannot be written, and what changes it."""
    owners, folder = set(), file.parts[0]
    for path in (file, file.parent):
        with suppress(OSError):
            owners.add(path.stat().st_uid)
    if not Path(folder).exists():
        return "this folder cannot be written", "copy it to where you may write, such as your home"
    if owners == {os.geteuid()}:
        return "it is yours, but may not be written", f"chmod -R u+rwX {folder}"
    return "it is not yours", f'sudo chown -R "$(id -un)" {folder}'


def unwritable(error: OSError) -> str:
    """Return a message about a file below this folder that could not be read or written; without one, the output."""
    if not error.filename:
        return f"The output cannot be written: {error.strerror}"
    file = Path(error.filename)
    folder = file.parts[0]
    advice = {
        errno.EACCES: "{}: {}".format(*not_writable(file)),
        errno.EROFS: "the file system is read-only. Copy this folder to another one",
        errno.ENOSPC: "the disk is full. Free some space, and start again",
        errno.EDQUOT: "your disk quota is exceeded. Free some space, and start again",
        errno.EEXIST: f"there is a file named {folder} where a folder should be. Move it away",
        errno.ENOTDIR: f"there is a file named {folder} where a folder should be. Move it away",
    }
    return f"{file} cannot be used: {advice.get(error.errno or 0, error.strerror)}"
