"""Progress of long work: a line on the terminal, nothing anywhere else."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tournant.cli.options import bytes_text

if TYPE_CHECKING:
    from tournant.ports import Progress

__all__ = ["progress", "status_line"]

_EVERY_SECONDS = 0.1


@contextmanager
def progress(label: str) -> "Iterator[Progress | None]":
    """Give what to tell of files and bytes that are done, or None where nobody would see it."""
    files = size = 0
    started = time.monotonic()

    def words() -> str:
        speed = bytes_text(int(size / max(time.monotonic() - started, 0.001)))
        return f"{files:,} files, {bytes_text(size)}, {speed}/s"

    def tell(more_files: int, more_bytes: int) -> None:
        nonlocal files, size
        files, size = files + more_files, size + more_bytes
        if show:
            show(words)

    with status_line(label) as show:
        yield tell if show else None


@contextmanager
def status_line(label: str) -> "Iterator[Callable[[Callable[[], str]], None] | None]":
    """Give what shows words on a line of their own (asked for as often as they are shown), or None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    shown = time.monotonic()

    def show(words: Callable[[], str]) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= _EVERY_SECONDS:
            shown = now
            sys.stderr.write(f"\r\x1b[K{label}: {words()}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
