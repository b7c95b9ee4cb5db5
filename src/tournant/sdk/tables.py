"""Tables in files: CSV, Parquet and NDJSON, read by DuckDB in batches of plain rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from tournant.errors import Invalid, NotFound

__all__ = ["read_rows", "scan", "write_rows"]

_READERS = {
    ".parquet": "read_parquet",
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".json": "read_json",
    ".ndjson": "read_json",
    ".jsonl": "read_json",
}


def scan(path: Path) -> str:
    """Give the SQL that reads a file, by its suffix."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise Invalid(
            f"{path}: a table is one of {', '.join(sorted(_READERS))}, not {path.suffix or 'a file without suffix'!r}"
        )
    quoted = str(path).replace("'", "''")
    return f"{reader}('{quoted}')"


def read_rows(path: Path, *, columns: Sequence[str] = (), size: int = 1000) -> Iterator[list[dict[str, Any]]]:
    """Read a table as batches of rows by column name; with `columns`, only those of them that the file has."""
    source = scan(path)
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    with duckdb.connect() as connection:
        try:
            found = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
            wanted = [name for name in found if not columns or name in columns]
            if not wanted:
                raise Invalid(f"{path} has none of the columns {', '.join(columns)} (it has: {', '.join(found)})")
            names = ", ".join('"' + name.replace('"', '""') + '"' for name in wanted)
            cursor = connection.execute(f"SELECT {names} FROM {source}")
            while rows := cursor.fetchmany(size):
                yield [dict(zip(wanted, row, strict=True)) for row in rows]
        except duckdb.Error as exc:
            raise Invalid(f"{path} cannot be read: {str(exc).splitlines()[0]}") from exc


def write_rows(target: Path, batches: Iterable[list[dict[str, Any]]], *, progress: Callable[[str], None]) -> int:
    """Write batches of rows as CSV, Parquet or NDJSON (by suffix), all or nothing; give how many rows."""
    spool = target.with_name(f".{target.name}.ndjson")
    written = 0
    try:
        with spool.open("wb") as file:
            for batch in batches:
                file.writelines(msgspec.json.encode(row) + b"\n" for row in batch)
                written += len(batch)
                if written % 100_000 < len(batch):
                    progress(f"{written:,} rows …")
        _convert(spool, target)
    finally:
        spool.unlink(missing_ok=True)
    return written


def _convert(spool: Path, target: Path) -> None:
    formats = {".parquet": "PARQUET, COMPRESSION zstd", ".csv": "CSV", ".tsv": "CSV, DELIMITER '\t'"}
    partial = target.with_name(f".{target.name}.partial")
    if target.suffix.lower() in (".ndjson", ".jsonl"):
        spool.replace(target)
        return
    if target.suffix.lower() not in formats:
        raise Invalid(f"{target}: write to .parquet, .csv, .tsv, .ndjson or .jsonl")
    output = str(partial).replace("'", "''")
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM {scan(spool)}) TO '{output}' (FORMAT {formats[target.suffix.lower()]})"
        )
    partial.replace(target)
