"""What a page is asked, and the parts every page's view has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tournant.errors import Invalid, NotFound
from tournant.ports import BlobStore, UnitOfWork

__all__ = ["Ask", "Crumb", "Page", "Verdict", "View"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request for a page: an open read transaction, content, business time, the address, cookies.

    `pairs` is the whole query, in which a name may stand several times.
    """

    uow: UnitOfWork
    blobs: BlobStore
    now: float
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    pairs: Sequence[tuple[str, str]] = ()
    cookies: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no database keeps and no name has."""
        if any("\0" in text for text in (*self.path.values(), *(value for _, value in self.pairs))):
            raise Invalid("the address has a NUL character in it, which no name has", place="address")

    def every(self, name: str) -> tuple[str, ...]:
        """Give all values of a name in the query."""
        return tuple(value for key, value in self.pairs if key == name and value)

    def get(self, kind: type[T], *key: object, noun: str) -> T:
        """Read one record, or say that there is none."""
        record = self.uow.get(kind, *key)
        if record is None:
            raise NotFound(f"There is no {noun} {'/'.join(map(str, key))!r}.")
        return record

    def whole(self, name: str, most: int) -> int:
        """Read a whole number of the query, 0 without one."""
        text = self.query.get(name, "")
        if text and not (text.isdecimal() and len(text) < 20 and int(text) <= most):
            raise Invalid(f"{name} must be a whole number up to {most:,}, not {text!r}", place=name)
        return int(text or 0)

    def number(self, name: str, default: float | None = None) -> float | None:
        """Read a number of the query."""
        text = self.query.get(name, "")
        try:
            return float(text) if text else default
        except ValueError:
            raise Invalid(f"{name} must be a number, not {text!r}", place=name) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crumb:
    """A step of the way to a page."""

    text: str
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The sentence a page opens with. `tone` is ok, prog, warn, crit or idle."""

    tone: str
    head: str
    text: str = ""
    note: str = ""
    href: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What every page's view has; `command` is the command line that gives the same, `problem` what it was asked wrongly."""

    title: str
    crumbs: tuple[Crumb, ...]
    command: str
    verdict: Verdict | None = None
    problem: str = ""
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One address: `view` makes what `template` shows; `section` is its place in the navigation.

    A page is drawn again when an event happens; `mark` gives a word that changes with what else it shows.
    """

    path: str
    template: str
    section: str
    view: Callable[[Ask], Any]
    charts: bool = False
    mark: Callable[[Ask], str] | None = None
