"""Tables compared by DuckDB: columns, types, rows, missing values, and how far values moved."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tournant.domain.tables import TableChanges, TableSummary, compare_tables
from tournant.errors import Invalid

if TYPE_CHECKING:
    import duckdb

__all__ = ["DuckDbTables"]

_READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".tsv": "read_csv"}
_SAMPLE_ROWS = 100_000  # values are compared on so many rows of each, the same ones each time


class DuckDbTables:
    """Compares two versions of a Parquet or CSV file."""

    def compares(self, name: str) -> bool:
        """Tell whether a file of this name is a table."""
        return Path(name).suffix.lower() in _READERS

    def compare(self, name: str, before: Path, after: Path) -> TableChanges:
        """Say how a table changed; Invalid if a file cannot be read as what its name says."""
        import duckdb  # half a second that other commands need not pay

        from tournant.domain.drift import psi
        from tournant.domain.profile import profile_columns, profile_like

        connection = duckdb.connect()
        reader = _READERS[Path(name).suffix.lower()]
        try:
            old, new = (getattr(connection, reader)(str(path)) for path in (before, after))
            summaries = _summary(old), _summary(new)
            types = [summary.types for summary in summaries]
            both = [column for column in types[0] if types[0][column] == types[1].get(column)]
            samples = [_sample(relation, both) for relation in (old, new)]
        except duckdb.Error as exc:
            raise Invalid(f"{name} cannot be read as a table: {str(exc).splitlines()[0]}") from exc
        profiles = profile_columns(samples[0])
        moved = {}
        for column, profile in profile_like(samples[1], profiles).items():
            cells = profiles[column].cells()
            moved[column] = float(psi(profiles[column].counts_of(cells), profile.counts_of(cells)))
        return compare_tables(name, *summaries, moved)


def _summary(table: "duckdb.DuckDBPyRelation") -> TableSummary:
    names, types = table.columns, [str(kind) for kind in table.types]
    (counts,) = table.aggregate(", ".join(["count(*)", *(f"count({_quoted(name)})" for name in names)])).fetchall()
    rows = int(counts[0])
    shares = {name: 1 - count / rows if rows else 0.0 for name, count in zip(names, counts[1:], strict=True)}
    return TableSummary(rows=rows, types=dict(zip(names, types, strict=True)), missing=shares)


def _sample(table: "duckdb.DuckDBPyRelation", columns: list[str]) -> dict[str, Any]:
    """Read columns as numbers or text, times as seconds; what is neither (lists, structs) is left out."""
    kinds = dict(zip(table.columns, (kind.id for kind in table.types), strict=True))
    chosen = {name: _as_plain(_quoted(name), kinds[name]) for name in columns}
    terms = [f"{term} as {_quoted(name)}" for name, term in chosen.items() if term]
    if not terms:
        return {}
    ((rows,),) = table.aggregate("count(*)").fetchall()
    step = max(1, -(-rows // _SAMPLE_ROWS))
    numbered = table.project("*, row_number() over () as tournant_row")
    return dict(numbered.filter(f"tournant_row % {step} = 0").project(", ".join(terms)).fetchnumpy())


def _as_plain(column: str, kind: str) -> str:
    if kind in ("varchar", "enum", "uuid"):
        return f"coalesce({column}::varchar, '')"
    if kind.startswith("timestamp") or kind == "date":
        return f"coalesce(epoch({column}::timestamp)::double, 'nan'::double)"
    if kind in ("list", "struct", "map", "array", "blob", "union", "time", "interval", "bit"):
        return ""
    return f"coalesce({column}::double, 'nan'::double)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
