"""Who may use a store's files: writers share them, garbage collection has them alone."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["StoreLock"]


class StoreLock:
    """A lock on a file, which the operating system opens again when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Lock `path`, which is made when first needed."""
        self._path = path

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Write: beside other writers, never while objects are being removed."""
        with self._held(fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Remove: when the writers that are at work have ended."""
        with self._held(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _held(self, kind: int) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)
