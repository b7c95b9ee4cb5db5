"""Reading one record or the newest ones, with an error that says what there is instead."""

from typing import Any, TypeVar

from tournant.errors import Invalid, NotFound
from tournant.services.context import CoreContext

__all__ = ["find_newest", "get_record"]

T = TypeVar("T")
LARGEST_PAGE = 1000


def get_record(ctx: CoreContext, kind: type[T], *key: object, noun: str, hint: str = "") -> T:
    """Read a record by primary key; `noun` names it in the error, `hint` says how to list what exists."""
    with ctx.transactions.begin(write=False) as uow:
        record = uow.get(kind, *key)
    if record is None:
        name = "/".join(map(str, key))
        raise NotFound(f"there is no {noun} {name!r}" + (f"; list them: {hint}" if hint else ""))
    return record


def find_newest(
    ctx: CoreContext, kind: type[T], /, *, time_field: str, limit: int, before: float | None, **where: Any
) -> list[T]:
    """Read the newest records by `time_field`, optionally only those before a time (keyset paging)."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise Invalid(f"limit must be between 1 and {LARGEST_PAGE}, not {limit}", place="limit")
    where = {name: value for name, value in where.items() if value is not None}
    if before is not None:
        where[f"{time_field}__lt"] = before
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(kind, order=f"-{time_field}", limit=limit, **where)
