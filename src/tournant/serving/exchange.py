"""One HTTP exchange as the gateway's protocols see it, and what each of them offers."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from tournant.errors import TournantError
from tournant.serving.failures import NotAllowed
from tournant.serving.headers import Headers

__all__ = ["JSON", "Application", "Call", "Face", "Reply", "allow"]

JSON = (b"content-type", b"application/json")


class Call(NamedTuple):
    """A request: its unquoted path, and its whole body, within its limits."""

    method: str
    path: str
    headers: Headers
    body: bytes = b""


class Reply(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)


class Face(Protocol):
    """One protocol over HTTP; `protocol` is its name in metrics."""

    protocol: str

    def deployment(self, path: str) -> str:
        """Name the deployment that a path asks for predictions; empty if it asks for something else."""
        ...

    def takes(self, path: str) -> bool:
        """Tell whether a path is this protocol's."""
        ...

    async def answer(self, call: Call) -> Reply:
        """Answer a call; raises a TournantError that says what is wrong."""
        ...

    def refusal(self, error: TournantError) -> Reply:
        """Say an error as the protocol's clients expect it."""
        ...


class Application(Protocol):
    """Who answers."""

    arrived: Callable[[], None]  # told when a client's bytes are about to be read
    turned: Callable[[], None]  # told when all is read, and what need not wait is answered

    def shed(self, data: bytes) -> bytes | None:
        """Give the refusal of a request by the first bytes of it, if it is whole with them and there is too much to do; else None."""
        ...

    def check(self, call: Call) -> None:
        """Raise a TournantError if a request is to be refused by its head alone."""
        ...

    async def respond(self, call: Call) -> Reply:
        """Answer a request; raises nothing."""
        ...

    def refuse(self, call: Call, error: TournantError) -> Reply:
        """Say what is wrong with a request that is not whole."""
        ...


def allow(call: Call, method: str) -> None:
    """Raise NotAllowed unless the call's method is `method` (HEAD goes as GET)."""
    if call.method != method and (call.method, method) != ("HEAD", "GET"):
        raise NotAllowed(f"{call.method} {call.path} is not possible: use {method}")
