"""Files that are written once: atomically, and past the page cache where they are large."""

import contextlib
import errno
import fcntl
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tournant.errors import TournantError, Unavailable

__all__ = [
    "BLOCK_BYTES",
    "READ_ONLY",
    "DirectFile",
    "DirectReader",
    "copy_durably",
    "explained",
    "sync_folder",
    "temporary",
]

BLOCK_BYTES = 8 * 1024**2
PAGE_BYTES = 4096
READ_ONLY = 0o444


class DirectFile:
    """Writes a new file in aligned blocks with O_DIRECT, which costs a tenth of the CPU that filling the page cache does.

    Where the file system knows no O_DIRECT, writes are ordinary ones.
    """

    def __init__(self, path: Path, *, mode: int = 0o644) -> None:
        """Create `path`, which must not exist."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            self._descriptor = os.open(path, flags | getattr(os, "O_DIRECT", 0), mode)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            self._descriptor = os.open(path, flags, mode)
        self._buffer = mmap.mmap(-1, BLOCK_BYTES)
        self._filled = 0
        self.position = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append."""
        start, length = 0, len(data)
        self.position += length
        while start < length:
            part = min(length - start, BLOCK_BYTES - self._filled)
            self._buffer[self._filled : self._filled + part] = data[start : start + part]
            self._filled += part
            start += part
            if self._filled == BLOCK_BYTES:
                self._write_out(BLOCK_BYTES)

    def _write_out(self, length: int) -> None:
        done = 0
        with memoryview(self._buffer) as view:
            while done < length:
                done += os.write(self._descriptor, view[done:length])
        self._filled = 0

    def close(self, *, durably: bool) -> None:
        """Write what is left; with `durably` it is on the disk when this returns."""
        with self:
            direct = getattr(os, "O_DIRECT", 0)
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
            if flags & direct:  # the tail is no whole block
                fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags & ~direct)
            self._write_out(self._filled)
            if durably:
                os.fsync(self._descriptor)

    def __enter__(self) -> "DirectFile":
        """Close the descriptor at the end, whatever happens; what is unwritten by then is lost."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give back descriptor and buffer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._buffer.close()


class DirectReader:
    """Reads ranges of a large file past the page cache, through one reused buffer."""

    def __init__(self, path: Path) -> None:
        """Open `path`."""
        try:
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECT", 0))
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            self._descriptor = os.open(path, os.O_RDONLY)
        self._buffer = mmap.mmap(-1, BLOCK_BYTES + 2 * PAGE_BYTES)

    def read(self, offset: int, length: int) -> memoryview:
        """Give at most BLOCK_BYTES from `offset`; the view is good until the next read. Shorter at the file's end."""
        start = offset // PAGE_BYTES * PAGE_BYTES
        wanted = -(-(offset + length - start) // PAGE_BYTES) * PAGE_BYTES
        view = memoryview(self._buffer)
        got = 0
        while got < wanted:
            part = os.preadv(self._descriptor, [view[got:wanted]], start + got)
            got += part
            if part == 0 or got % PAGE_BYTES:
                break
        return view[offset - start : min(got, offset - start + length)]

    def close(self) -> None:
        """Give back the descriptor (the buffer goes with the last view of it)."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = close


@contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """Give the path of a file to be made in `folder`; what is still there at the end is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mktemp(dir=folder, prefix=f"{os.getpid()}-"))  # noqa: S306 - whoever makes it does so with O_EXCL
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def copy_durably(source: Path, target: Path) -> None:
    """Copy a file so that `target` is either absent or whole and on the disk."""
    reader = DirectReader(source)
    with temporary(target.parent) as part:
        with DirectFile(part, mode=READ_ONLY) as writer:
            offset = 0
            while len(block := reader.read(offset, BLOCK_BYTES)):
                writer.write(block)
                offset += len(block)
            writer.close(durably=True)
        part.replace(target)
    reader.close()
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what the operating system refuses into an error that says what failed, where and what next."""
    try:
        yield
    except OSError as exc:
        if isinstance(exc, TournantError):
            raise
        hints = {
            errno.ENOSPC: "The disk is full: make room (tournant data gc), then do it again; nothing is half-written.",
            errno.EDQUOT: "Your disk quota is used up: make room, then do it again; nothing is half-written.",
            errno.EROFS: "The file system is read-only.",
            errno.EACCES: "This user may not do that there.",
        }
        hint = hints.get(exc.errno or 0)
        if hint is None:
            raise
        raise Unavailable(f"{what}: {exc.strerror}{f' ({exc.filename})' if exc.filename else ''}. {hint}") from exc
