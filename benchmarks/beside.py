"""Runs a load, or a watch, in a process of its own, while this one does something to the server."""

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["Beside"]

T = TypeVar("T")


class Beside(Generic[T]):
    """Work that goes on until it is told to end; `found` is what came of it, once it has.

    with Beside(drive, port, requests, connections=16) as load:
        ...
    load.found
    """

    found: T

    def __init__(self, work: Callable[..., T], *arguments: Any, **named: Any) -> None:
        """Prepare `work`, which also gets `done`."""
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, work, arguments, named), daemon=True)

    def __enter__(self) -> "Beside[T]":
        """Begin; return once it works."""
        self._process.start()
        self._pipe.recv()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it, and take what it found."""
        self._pipe.send("end")
        found = self._pipe.recv()
        self._process.join()
        if isinstance(found, Exception):
            raise found
        self.found = found


def _run(pipe: Connection, work: Callable[..., object], arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    pipe.send("works")
    try:
        pipe.send(work(*arguments, done=pipe.poll, **named))
    except Exception as exc:
        pipe.send(exc)
