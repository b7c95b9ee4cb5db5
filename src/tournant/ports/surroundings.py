"""Time, keys, metrics of others, and who is to be told."""

from enum import StrEnum
from pathlib import Path
from typing import Protocol

from tournant.domain.notifications import Message

__all__ = ["Clock", "KeyKind", "Keys", "Lockstep", "MetricSource", "Notifier"]


class KeyKind(StrEnum):
    """What a key of the home signs."""

    STATEMENTS = "statements"  # what tournant has found out: Ed25519
    MODELS = "models"  # model files, in the OpenSSF format: ECDSA on P-256


class Keys(Protocol):
    """Signs with keys of the home, which are made when they are first used, and checks signatures. Public keys are PEM."""

    def sign(self, kind: KeyKind, message: bytes, *, key: Path | None = None) -> bytes:
        """Sign with the home's key of a kind, or with a private key in a PEM file; Invalid when that is none."""
        ...

    def public(self, kind: KeyKind, *, key: Path | None = None) -> bytes:
        """Give the public half of the same key."""
        ...

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature of a message holds; Invalid when `public` is no public key."""
        ...


class Notifier(Protocol):
    """Tells people, in one way. Messages come at least once each, in order."""

    @property
    def name(self) -> str:
        """What it is called: its own name among all, the same at each start, with no secret in it."""
        ...

    def notify(self, message: Message) -> None:
        """Deliver a message; Unavailable with the reason when it cannot, and it will be asked again."""
        ...


class MetricSource(Protocol):
    """Knows metrics that are measured elsewhere."""

    def value(self, url: str, query: str) -> float | None:
        """Give the value of an instant query now, None for no data; Unavailable with the reason when it gives no one number."""
        ...


class Clock(Protocol):
    """Business time: the wall clock live, driven in lockstep in a replay."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class Lockstep(Protocol):
    """Drives a replay: business time moves only when everything that follows from the old time has happened."""

    def advance(self, now: float) -> None:
        """Set business time, wait for gateways to flush, and tick controllers until they are quiet."""
        ...
