"""Calls that wait on disk: one file a process, locked while it lives, so that another can tell what a dead one left."""

import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tournant.errors import Damaged

__all__ = ["Call", "Header", "Journal"]

SUFFIX = ".journal"


class Header(msgspec.Struct, frozen=True):
    """The first line of a journal: whom its calls are for (a server's URL or a home's path), and who makes them."""

    address: str
    actor: str = ""


class Call(msgspec.Struct, frozen=True):
    """One call of an operation by name; with a `file`, of which the content is on disk, it stores that as an artifact."""

    name: str
    values: dict[str, object]
    file: str = ""


_encode = msgspec.json.Encoder().encode
_decode_call = msgspec.json.Decoder(Call).decode
_decode_header = msgspec.json.Decoder(Header).decode


class Journal:
    """Lines appended by one thread and taken by another, in order. What was taken and answered for is forgotten."""

    def __init__(self, path: Path, header: Header, descriptor: int, start: int) -> None:
        """Use an open and locked file, whose first call begins at byte `start`; see `make` and `left`."""
        self.path = path
        self.header = header
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._start = self._done = start
        self._size = os.fstat(descriptor).st_size

    @classmethod
    def make(cls, folder: Path, header: Header) -> "Journal":
        """Begin one."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        first = _encode(header) + b"\n"
        os.write(descriptor, first)
        return cls(path, header, descriptor, len(first))

    @classmethod
    def left(cls, folder: Path) -> Iterator["Journal"]:
        """Give those whose processes are gone; whoever is given one holds it."""
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                continue
            if not path.exists():  # whoever held it before has just finished it
                os.close(descriptor)
                continue
            first, whole, _ = os.pread(descriptor, 64 << 10, 0).partition(b"\n")
            try:
                header = _decode_header(first)
            except msgspec.DecodeError:
                os.close(descriptor)
                if not whole:  # its process died before the first line was written: nothing is in it
                    path.unlink(missing_ok=True)
                continue
            yield cls(path, header, descriptor, len(first) + 1)

    @property
    def waiting_bytes(self) -> int:
        """How much was not answered for."""
        return self._size - self._done

    def append(self, calls: list[Call]) -> None:
        """Write calls; they survive this process from then on."""
        content = b"".join(_encode(call) + b"\n" for call in calls)
        with self._lock:
            view = memoryview(content)
            while view:
                view = view[os.write(self._descriptor, view) :]
            self._size += len(content)

    def take(self, most_bytes: int = 1 << 20) -> tuple[list[Call], int]:
        """Give the next calls and how many bytes they are, without forgetting them; a line that is not whole is none.

        Damaged when a line is no call.
        """
        size = most_bytes
        while True:
            content = os.pread(self._descriptor, min(size, self.waiting_bytes), self._done)
            whole = content.rfind(b"\n") + 1
            if whole or len(content) == self.waiting_bytes:
                break
            size *= 4  # one line is longer than that
        if not whole:
            self._done = self._size  # a dead process was writing it
            return [], 0
        try:
            return [_decode_call(line) for line in content[:whole].split(b"\n")[:-1]], whole
        except msgspec.DecodeError as exc:
            raise Damaged(f"{self.path} cannot be read behind byte {self._done}: {exc}") from exc

    def answered(self, size: int) -> None:
        """Forget so many bytes of what was taken; the file is emptied when nothing waits."""
        with self._lock:
            self._done += size
            if self._done == self._size > self._start:
                os.ftruncate(self._descriptor, self._start)
                self._done = self._size = self._start

    def close(self) -> bool:
        """Let go of the file, and remove it if nothing waits in it; tell whether something does."""
        waits = self.waiting_bytes > 0
        if not waits:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        return waits
