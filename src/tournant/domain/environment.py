"""Locked environments: a Python version and host-free hashed requirements."""

from dataclasses import dataclass

__all__ = ["Environment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a model or step needs to run; content-addressed by `digest` (of Python version and lock).

    `python` is `major.minor`; `lock` is the text of a requirements file with hashes and no index address.
    """

    digest: str
    python: str
    lock: str
    created_at: float = 0.0
