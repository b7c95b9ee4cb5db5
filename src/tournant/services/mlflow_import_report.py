"""What an import from MLflow counts, what it leaves, and how it knows again what it has brought before."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from tournant.errors import Invalid, TournantError
from tournant.ports import MlflowSource, Unreadable
from tournant.services.context import Context
from tournant.services.texts import check_texts

__all__ = [
    "IMPORTED_ALIASES",
    "IMPORTED_FROM",
    "IMPORT_STATE",
    "INCOMPLETE",
    "Importing",
    "MlflowImport",
    "fingerprint",
    "is_identifier",
]

IMPORTED_FROM = "tournant.imported_from"  # a tag: what bears it may be completed by another import
IMPORT_STATE = "tournant.import_state"  # a tag: what it was in the source when it was brought
IMPORTED_ALIASES = "tournant.imported_aliases"  # a tag of a model: what its aliases named in the source
INCOMPLETE = "-without-files"  # ends the state of what was brought but for some of its files
_MARKS = (IMPORTED_FROM, IMPORT_STATE, IMPORTED_ALIASES)  # a tournant may be the source
_IDENTIFIER = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,249}")


@dataclass(slots=True, kw_only=True)
class MlflowImport:
    """What an import brought (new, or changed since the last one), what was here as it is, and what it left, with reasons."""

    source: str
    experiments: int = 0
    runs: int = 0
    points: int = 0
    datasets: int = 0
    logged_models: int = 0
    models: int = 0
    versions: int = 0
    aliases: int = 0
    files: int = 0
    size_bytes: int = 0
    unchanged: int = 0  # runs, logged models and versions
    left: list[Unreadable] = field(default_factory=list)

    def leave(self, noun: str, name: str, reason: str) -> None:
        """Note what was not brought."""
        self.left.append(Unreadable(noun=noun, name=name, reason=reason))

    def keepable(self, texts: Mapping[str, str], noun: str, owner: str) -> dict[str, str]:
        """Give the texts that can be kept, and note those that cannot."""
        kept = {}
        for key, value in texts.items():
            if key in _MARKS:
                continue
            try:
                check_texts({key: value}, noun)
                kept[key] = value
            except Invalid as exc:
                self.leave(noun, f"{key[:80]} of {owner}", exc.message)
        return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """An import at work: from where, into which house, and what it has done so far."""

    ctx: Context
    source: MlflowSource
    report: MlflowImport
    progress: Callable[[MlflowImport], None] | None = None

    def tell(self) -> None:
        """Say how far it is."""
        if self.progress:
            self.progress(self.report)

    @contextmanager
    def skipping(self, noun: str, name: str) -> Iterator[None]:
        """Note why something was not brought, and go on with the next; what ends everything is raised all the same."""
        try:
            yield
        except TournantError as exc:
            if exc.code in ("unavailable", "denied", "damaged"):
                raise
            self.report.leave(noun, name, exc.message)


def fingerprint(*facts: object) -> str:
    """Give a word that changes when facts change.

    >>> fingerprint("a", {"x": 1, "y": 2}) == fingerprint("a", {"y": 2, "x": 1}) != fingerprint("a", {"x": 1})
    True
    """
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()[:16]


def is_identifier(text: str) -> bool:
    """Tell whether a text is an id as MLflow gives them, and safe in a path."""
    return _IDENTIFIER.fullmatch(text) is not None
