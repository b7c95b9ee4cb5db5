"""What a page is asked, and the parts every page's view has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tournant.errors import Invalid, NotFound
from tournant.ports import UnitOfWork

__all__ = ["Ask", "Crumb", "Page", "Verdict", "View"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request for a page: an open read transaction, business time, the address."""

    uow: UnitOfWork
    now: float
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def get(self, kind: type[T], *key: object, noun: str) -> T:
        """Read one record, or say that there is none."""
        record = self.uow.get(kind, *key)
        if record is None:
            raise NotFound(f"There is no {noun} {'/'.join(map(str, key))!r}.")
        return record

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
    """What every page's view has; `command` is the command line that gives the same."""

    title: str
    crumbs: tuple[Crumb, ...]
    command: str
    verdict: Verdict | None = None
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One address: `view` makes what `template` shows; `section` is its place in the navigation."""

    path: str
    template: str
    section: str
    view: Callable[[Ask], Any]
    charts: bool = False
