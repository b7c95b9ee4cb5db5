"""Trees from the store onto the disk: at once or not at all, and nothing written that is there already."""

import contextlib
import ctypes
import fcntl
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath

from tournant.adapters.blobs.files import BLOCK_BYTES, DirectFile
from tournant.adapters.blobs.index import Place
from tournant.adapters.blobs.loose import Loose
from tournant.adapters.blobs.manifests import EXECUTABLE, FOLDER, Entry
from tournant.adapters.blobs.objects import Objects
from tournant.adapters.blobs.pack import Kind, decode
from tournant.adapters.blobs.stats import FolderStats, StatIndex
from tournant.adapters.blobs.trees import digest_tree
from tournant.errors import Invalid
from tournant.ports import Progress

__all__ = ["place_tree", "refuse_escape"]

_FICLONE = 0x40049409  # linux/fs.h: share the source's extents
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_PAST_CACHE_BYTES = 64 * 1024**2  # larger files are written past the page cache
_BATCH = 5_000
_ABANDONED_SECONDS = 3600.0  # a checkout that has stood so long has been killed


def refuse_escape(path: str) -> None:
    """Raise Invalid for a path that would leave the folder it is written to."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or not parts or "\0" in path:
        raise Invalid(f"a tree names the path {path!r}, which would leave its folder")


class Checkout:
    """Writes a tree's files under a folder that nobody looks at yet."""

    def __init__(self, objects: Objects, loose: Loose, staging: Path, progress: Progress | None) -> None:
        """Read from `objects` and `loose`."""
        self._objects = objects
        self._loose = loose
        self._staging = str(staging)
        self._progress = progress or (lambda _files, _bytes: None)
        self._folders: set[str] = set()
        self.written: dict[str, FolderStats] = {}  # by the folder's path in the tree

    def write(self, entries: Sequence[Entry]) -> None:
        """Write entries, those whose content stands together in a pack one after another."""
        remaining = iter(entries)
        while batch := list(islice(remaining, _BATCH)):
            self._write_batch(batch)

    def _write_batch(self, batch: list[Entry]) -> None:
        places = self._objects.index.find_many({entry.key for entry in batch if not entry.flags & FOLDER})
        near: list[tuple[Place, Entry]] = []
        apart: list[Entry] = []
        for entry in batch:
            if entry.flags & FOLDER:
                os.makedirs(f"{self._staging}/{entry.path}", exist_ok=True)  # noqa: PTH103 - text all along
                continue
            place = places.get(entry.key)
            if place and place.entry.kind == Kind.BLOB:
                near.append((place, entry))
            else:
                apart.append(entry)
        near.sort(key=lambda pair: (pair[0].pack, pair[0].entry.offset))
        stored = self._objects.read_places(place for place, _ in near)
        for (_, entry), (found, data) in zip(near, stored, strict=True):
            content = decode(found, data)
            with self._created(entry) as descriptor:
                _write_all(descriptor, content)
        for entry in apart:
            self._write_apart(entry, chunked=entry.key in places)
        self._progress(len(batch), sum(entry.size for entry in batch))

    def _write_apart(self, entry: Entry, *, chunked: bool) -> None:
        source = None if chunked else self._loose.find(entry.key)
        if source:
            with self._created(entry) as descriptor:
                _copy(source, descriptor)
        elif chunked and entry.size >= _PAST_CACHE_BYTES:
            path = self._path(entry)
            with DirectFile(Path(path), mode=_mode(entry)) as file:
                for data in self._objects.load_content(entry.key):
                    file.write(data)
                file.close(durably=False)
            self._note(entry, os.stat(path))  # noqa: PTH116
        else:
            with self._created(entry) as descriptor:
                for data in self._objects.load_content(entry.key):
                    _write_all(descriptor, data)

    @contextmanager
    def _created(self, entry: Entry) -> Iterator[int]:
        descriptor = os.open(self._path(entry), os.O_WRONLY | os.O_CREAT | os.O_EXCL, _mode(entry))
        try:
            yield descriptor
            self._note(entry, os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def _path(self, entry: Entry) -> str:
        folder = entry.path.rpartition("/")[0]
        if folder not in self._folders:
            os.makedirs(f"{self._staging}/{folder}", exist_ok=True)  # noqa: PTH103
            self._folders.add(folder)
        return f"{self._staging}/{entry.path}"

    def _note(self, entry: Entry, info: os.stat_result) -> None:
        folder, _, name = entry.path.rpartition("/")
        self.written.setdefault(folder, {})[name] = (info.st_size, info.st_mtime_ns, info.st_ino, entry.key)

    def keep(self, entry: Entry, present: str) -> bool:
        """Take over a file that is right already; false where that cannot be (another file system)."""
        path = self._path(entry)
        try:
            os.link(present, path)
        except OSError:
            return False
        self._note(entry, os.stat(path))  # noqa: PTH116
        return True


def place_tree(
    objects: Objects, loose: Loose, stats: StatIndex, entries: list[Entry], target: Path, progress: Progress | None
) -> None:
    """Let `target` be a tree; what stands there is replaced at once, and only if it differs."""
    for entry in entries:
        refuse_escape(entry.path)
    single = len(entries) == 1 and entries[0].path == target.name and not entries[0].flags & FOLDER
    present: dict[str, Entry] = {}
    if target.exists() and target.is_dir() != single:
        present = {entry.path: entry for entry in digest_tree(stats, target, "")}
        if list(present.values()) == entries:
            return
    _sweep(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    try:
        staging.chmod(0o777 & ~_umask())
        work = Checkout(objects, loose, staging, progress)
        rest = [e for e in entries if single or present.get(e.path) != e or not _keep(work, e, target)]
        work.write(rest)
        _swap(staging / target.name if single else staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    final = os.path.abspath(target.parent if single else target)  # noqa: PTH100
    if not single:
        generation = objects.index.generation()
        stats.save(((f"{final}/{folder}".rstrip("/"), files) for folder, files in work.written.items()), generation)


def _keep(work: Checkout, entry: Entry, target: Path) -> bool:
    return not entry.flags & FOLDER and work.keep(entry, f"{target}/{entry.path}")


def _prefix(target: Path) -> str:
    return f".{target.name[:100]}.checkout-"


def _sweep(target: Path) -> None:
    """Remove what a checkout that was killed has left."""
    if target.parent.is_dir():
        for left in target.parent.glob(f"{glob.escape(_prefix(target))}*"):
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _mode(entry: Entry) -> int:
    return 0o777 if entry.flags & EXECUTABLE else 0o666


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    done = os.write(descriptor, data)
    while done < len(data):
        done += os.write(descriptor, data[done:])


def _copy(source: Path, descriptor: int) -> None:
    """Copy a file, sharing its blocks where the file system can."""
    with source.open("rb", buffering=0) as file:
        with contextlib.suppress(OSError):
            fcntl.ioctl(descriptor, _FICLONE, file.fileno())
            return
        while block := file.read(BLOCK_BYTES):
            _write_all(descriptor, block)


def _swap(new: Path, target: Path) -> None:
    """Put `new` in the place of `target`, so that there is no moment without one of them."""
    if not target.is_dir() and not (new.is_dir() and target.exists()):
        new.replace(target)
    elif not _exchange(new, target):
        old = new.with_name(f"{new.name}.old")
        target.replace(old)
        new.replace(target)
        shutil.rmtree(old) if old.is_dir() else old.unlink()


def _exchange(new: Path, target: Path) -> bool:
    """Exchange two paths in one step; false where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    done = rename(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(target), _RENAME_EXCHANGE)
    return bool(done == 0)
