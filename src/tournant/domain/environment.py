"""Locked environments: a Python version and host-free hashed requirements."""

import re
from dataclasses import dataclass

__all__ = ["Environment", "LockedRequirements", "packages"]

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def packages(lock: str) -> dict[str, str]:
    """Give the packages of a lock with their versions.

    >>> packages("numpy==2.1.0 --hash=sha256:00") | packages("scikit_learn==1.5.2 ; python_version > '3'")
    {'numpy': '2.1.0', 'scikit-learn': '1.5.2'}
    """
    return {name.lower().replace("_", "-"): version for name, version in _PIN.findall(lock)}


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
