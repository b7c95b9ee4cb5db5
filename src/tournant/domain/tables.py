"""How a table differs from its earlier version: columns, types, rows, and the columns whose values moved."""

from dataclasses import dataclass, field

__all__ = ["ColumnChange", "TableChanges", "TableSummary", "compare_tables"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSummary:
    """What is compared of a table: rows, and each column's type and the share of its values that are missing."""

    rows: int
    types: dict[str, str]
    missing: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """One column's values then and now; `psi` is the population stability index (0.1 is some change, 0.25 much)."""

    column: str
    psi: float
    missing_before: float
    missing_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChanges:
    """How a table changed. `moved` are columns in both, of one type, the most changed first."""

    path: str
    rows_before: int
    rows_after: int
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    types_changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    moved: tuple[ColumnChange, ...] = ()


def compare_tables(path: str, before: TableSummary, after: TableSummary, psi: dict[str, float]) -> TableChanges:
    """Put together how a table changed; `psi` is given for the columns whose values were compared.

    >>> old, new = TableSummary(rows=2, types={"a": "INT", "b": "INT"}), TableSummary(rows=3, types={"a": "TEXT", "c": "INT"})
    >>> changes = compare_tables("t", old, new, {})
    >>> changes.columns_added, changes.columns_removed, changes.types_changed
    (('c',), ('b',), {'a': ('INT', 'TEXT')})
    """
    both = [column for column in before.types if column in after.types]
    moved = [
        ColumnChange(
            column=column,
            psi=psi[column],
            missing_before=before.missing.get(column, 0.0),
            missing_after=after.missing.get(column, 0.0),
        )
        for column in both
        if column in psi
    ]
    return TableChanges(
        path=path,
        rows_before=before.rows,
        rows_after=after.rows,
        columns_added=tuple(column for column in after.types if column not in before.types),
        columns_removed=tuple(column for column in before.types if column not in after.types),
        types_changed={
            column: (before.types[column], after.types[column])
            for column in both
            if before.types[column] != after.types[column]
        },
        moved=tuple(sorted(moved, key=lambda change: -change.psi)),
    )
