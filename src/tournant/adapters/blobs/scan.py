"""What a folder holds on disk, folder by folder, less what `.tournantignore` names."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tournant.domain.ignore import IgnorePattern, ignored, read_patterns
from tournant.errors import Invalid, NotFound

__all__ = ["FoundFile", "FoundFolder", "scan"]

IGNORE_FILE = ".tournantignore"


class FoundFile(NamedTuple):
    """A file and what the file system says of it; `mtime` in nanoseconds."""

    name: str
    size: int
    mtime: int
    inode: int
    mode: int


class FoundFolder(NamedTuple):
    """One folder's files; `prefix` stands before their names in the tree's paths. `bare` when it has nothing at all."""

    path: str
    prefix: str
    files: list[FoundFile]
    bare: bool


def scan(path: Path) -> Iterator[FoundFolder]:
    """Give a folder and those in it, or the one file of its parent folder.

    Links to files inside are followed; Invalid for one that leads out of the folder, and for names that are no UTF-8.
    """
    if not path.exists():
        raise NotFound(f"there is no file or folder {path}")
    if path.is_dir():
        top = os.path.abspath(path)  # noqa: PTH100 - text, as scandir wants it
        yield from _scan(top, "", (), os.path.realpath(top))
        return
    parent = os.path.abspath(path.parent)  # noqa: PTH100
    _check_name(path.name, parent)
    yield FoundFolder(parent, "", [_file(path.name, path.stat(), str(path))], bare=False)


def _scan(folder: str, prefix: str, patterns: Sequence[IgnorePattern], top: str) -> Iterator[FoundFolder]:
    files: list[FoundFile] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        there = list(entries)
    if IGNORE_FILE in [entry.name for entry in there]:
        text = Path(folder, IGNORE_FILE).read_text(encoding="utf-8", errors="replace")
        patterns = [*patterns, *read_patterns(text.splitlines(), prefix)]
    for entry in there:
        name = entry.name
        if not name.isascii():
            _check_name(name, folder)
        info = entry.stat(follow_symlinks=False)
        mode = info.st_mode
        if patterns and ignored(prefix + name, patterns, folder=stat.S_ISDIR(mode)):
            continue
        if stat.S_ISREG(mode):
            files.append(FoundFile(name, info.st_size, info.st_mtime_ns, info.st_ino, mode))
        elif stat.S_ISDIR(mode):
            folders.append(name)
        else:
            files.append(_special(entry, top))
    yield FoundFolder(folder, prefix, files, bare=not there)
    for name in sorted(folders):
        yield from _scan(f"{folder}/{name}", f"{prefix}{name}/", patterns, top)


def _special(entry: os.DirEntry[str], top: str) -> FoundFile:
    if not entry.is_symlink():
        raise Invalid(f"{entry.path} is a pipe, socket or device: take it out, or name it in {IGNORE_FILE}")
    target = os.path.realpath(entry.path)
    if os.path.commonpath([top, target]) != top:
        raise Invalid(f"{entry.path} links to {target}, outside of {top}: copy it in, or name it in {IGNORE_FILE}")
    try:
        info = entry.stat()
    except OSError as exc:
        raise Invalid(
            f"{entry.path} links to {target}, which is not there: mend it, or name it in {IGNORE_FILE}"
        ) from exc
    return _file(entry.name, info, entry.path)


def _file(name: str, info: os.stat_result, path: str) -> FoundFile:
    if stat.S_ISDIR(info.st_mode):
        raise Invalid(f"{path} links to a folder: copy it in, or name it in {IGNORE_FILE}")
    if not stat.S_ISREG(info.st_mode):
        raise Invalid(f"{path} is a pipe, socket or device, not a file")
    return FoundFile(name, info.st_size, info.st_mtime_ns, info.st_ino, info.st_mode)


def _check_name(name: str, folder: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name)
        raise Invalid(
            f"the name {shown!r} in {folder!r} is not UTF-8: rename it, or name it in {IGNORE_FILE}"
        ) from None
