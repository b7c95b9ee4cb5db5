"""Locked environments: a Python version and host-free hashed requirements."""

from dataclasses import dataclass

__all__ = ["Environment", "LockedRequirements"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a model or step needs to run; content-addressed by `digest` (of Python version and lock).

    `python` is `major.minor`; `lock` is the text of a requirements file with hashes and no index address.
    """

    digest: str
    python: str
    lock: str
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedRequirements:
    """The environment that requirements were locked to: the same text means the same environment until it is locked anew.

    `key` is the digest of the Python version and the requirements' text.
    """

    key: str
    environment: str
    locked_at: float
