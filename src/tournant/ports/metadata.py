"""Metadata: transactions over the stored records, and runs, which are many."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from tournant.domain.control import Event
from tournant.domain.run_query import HistoryQuery, RunQuery
from tournant.domain.tracking import Metric, Run

__all__ = ["RunStore", "Transactions", "UnitOfWork"]

T = TypeVar("T")


class UnitOfWork(Protocol):
    """One metadata transaction over the frozen records of `domain`; leaving the `with` block commits, an exception rolls back.

    Keys are the record's primary key fields. Filters are `field=value` or `field__op=value` with op one of
    lt, le, gt, ge, ne, in. `order` is a field name, with `-` before it for descending; several by comma. Runs, which are
    many and record much, are read and written by `runs`.
    """

    @property
    def runs(self) -> "RunStore":
        """The runs of this transaction."""
        ...

    def get(self, kind: type[T], *key: object, lock: bool = False) -> T | None:
        """Read one record by primary key; with `lock`, other writers of it wait for this transaction."""
        ...

    def find(self, kind: type[T], /, *, order: str = "", limit: int | None = None, **where: object) -> list[T]:
        """Read the records that match, in order."""
        ...

    def count(self, kind: type[T], /, **where: object) -> int:
        """Count the records that match."""
        ...

    def add(self, *records: Any) -> None:
        """Insert records of one kind; Conflict when a primary key exists."""
        ...

    def save(self, *records: Any) -> None:
        """Insert or replace records of one kind by primary key."""
        ...

    def remove(self, kind: type[Any], /, **where: object) -> int:
        """Delete the records that match (at least one filter); give how many."""
        ...

    def record(self, event: Event) -> None:
        """Append an event."""
        ...


class RunStore(Protocol):
    """Runs with their params, tags and metrics, in one transaction."""

    def get(self, run_id: str, *, lock: bool = False) -> Run | None:
        """Read one run; with `lock`, other writers of it wait for this transaction."""
        ...

    def find(self, query: RunQuery) -> list[Run]:
        """Find runs in order."""
        ...

    def add(self, run: Run) -> Run:
        """Insert a run with its params and tags; one without a name gets its number within the experiment for one."""
        ...

    def update(self, run: Run) -> None:
        """Write a run's own fields, those of `Run` but for the experiment, the params, metrics and tags."""
        ...

    def log(
        self,
        run_id: str,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> int:
        """Add to a run; a tag of None is taken away. The same point again changes nothing. Give how many points are new.

        NotFound without the run, Invalid when it is deleted, Conflict when a param has another value.
        """
        ...

    def history(self, query: HistoryQuery) -> list[Metric]:
        """Read points of a metric."""
        ...

    def remove(self, run_ids: Sequence[str]) -> int:
        """Remove runs with all that they recorded, for good; give how many there were."""
        ...

    def delete_all(self, experiment: int, *, since: float | None, deleted_at: float | None) -> None:
        """Mark an experiment's runs whose `deleted_at` is `since` with another: delete the active, restore the deleted."""
        ...


class Transactions(Protocol):
    """Opens units of work."""

    def begin(self, *, write: bool = True) -> AbstractContextManager[UnitOfWork]:
        """Start one transaction; `write=False` promises only reads."""
        ...
