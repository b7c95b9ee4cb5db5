"""Progress of long work: a line on the terminal, nothing anywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tournant.cli.options import bytes_text

if TYPE_CHECKING:
    from tournant.ports import Progress

__all__ = ["progress"]

_EVERY_SECONDS = 0.1


@contextmanager
def progress(label: str) -> "Iterator[Progress | None]":
    """Give what to tell of files and bytes that are done, or None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    files = size = 0
    started = shown = time.monotonic()

    def tell(more_files: int, more_bytes: int) -> None:
        nonlocal files, size, shown
        files, size = files + more_files, size + more_bytes
        now = time.monotonic()
        if now - shown >= _EVERY_SECONDS:
            shown = now
            speed = bytes_text(int(size / max(now - started, 0.001)))
            sys.stderr.write(f"\r\x1b[K{label}: {files:,} files, {bytes_text(size)}, {speed}/s")
            sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
