"""The beginning of a stored file for people to see: text, JSON, a table's first rows, an image. Nothing of it is ever run."""

import codecs
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tournant.errors import TournantError
from tournant.ports import BlobStore

__all__ = ["IMAGE_TYPES", "Preview", "image_type", "preview_file"]

TEXT_BYTES = 64 * 1024
TABLE_BYTES = 256 * 1024
JSON_BYTES = 256 * 1024  # larger ones are shown as text, from their beginning
IMAGE_BYTES = 20 * 1024 * 1024
PARQUET_BYTES = 512 * 1024 * 1024
MOST_ROWS = 100
MOST_COLUMNS = 50
LONGEST_CELL = 200
PARQUET_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "256MB",
    "threads": "1",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
IMAGE_TYPES = {  # by what a file of the type begins with; a picture that is a program for a browser is not among them
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"RIFF": "image/webp",
}
SVG = "image/svg+xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What is shown of a file. `kind` is text, json, table, image or none; `note` says what is not shown, and why."""

    kind: str
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""


def preview_file(blobs: BlobStore, name: str, digest: str, size_bytes: int) -> Preview:
    """Read the beginning of a file as what its name and first bytes say."""
    suffix = Path(name).suffix.lower()
    with blobs.open(digest) as content:
        head = content.read(TABLE_BYTES)
    if image_type(name, head):
        if size_bytes > IMAGE_BYTES:
            return Preview(kind="none", note=f"The image is larger than {IMAGE_BYTES // 2**20} MB: download it.")
        return Preview(kind="image")
    if suffix == ".parquet" or head[:4] == b"PAR1":
        return _parquet(blobs, digest, size_bytes)
    text = _decode(head, whole=len(head) == size_bytes)
    if text is None:
        return Preview(kind="none", note="It is neither text, an image nor a table: download it.")
    if suffix in (".csv", ".tsv"):
        found = _csv(text, suffix, whole=len(head) == size_bytes)
        if found:
            return found
    if suffix == ".json" and size_bytes <= JSON_BYTES:
        return _json(head, text)
    return _text(text, size_bytes)


def image_type(name: str, head: bytes) -> str:
    """Give the media type of an image by its first bytes; empty when it is none that a page may show."""
    for magic, media_type in IMAGE_TYPES.items():
        if head.startswith(magic) and (media_type != "image/webp" or head[8:12] == b"WEBP"):
            return media_type
    is_svg = Path(name).suffix.lower() == ".svg" and b"<svg" in head[:4096]
    return SVG if is_svg else ""


def _decode(head: bytes, *, whole: bool) -> str | None:
    """Read UTF-8; None when it is none. A character that is cut at the end is left out."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, whole)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _text(text: str, size_bytes: int) -> Preview:
    shown = text[:TEXT_BYTES]
    cut = size_bytes > len(shown.encode()) + 3  # a byte order mark is not shown
    note = f"The first {len(shown.encode()):,} of {size_bytes:,} bytes." if cut else ""
    return Preview(kind="text", text=shown, note=note)


def _json(data: bytes, text: str) -> Preview:
    try:
        value = msgspec.json.decode(data)
        table = _logged_table(value)
        if table:
            return table
        return Preview(kind="json", text=msgspec.json.format(data, indent=2).decode())
    except (msgspec.DecodeError, RecursionError) as exc:
        shown = _text(text, len(data))
        return Preview(kind="text", text=shown.text, note=f"It is no JSON as it should be: {exc}. {shown.note}".strip())


def _logged_table(value: object) -> Preview | None:
    """Read a table as MLflow's log_table writes it: columns and data."""
    if not isinstance(value, dict) or set(value) - {"index"} != {"columns", "data"}:
        return None
    columns, data = value["columns"], value["data"]
    if not isinstance(columns, list) or not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        return None
    return _table([str(name) for name in columns], data, of=len(data))


def _csv(text: str, suffix: str, *, whole: bool) -> Preview | None:
    first = text.partition("\n")[0]
    delimiter = "\t" if suffix == ".tsv" else ";" if first.count(";") > first.count(",") else ","
    if not whole:
        text = text[: text.rfind("\n") + 1]
    try:
        rows = []
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            rows.append(row)
            if len(rows) > MOST_ROWS + 1:
                break
    except csv.Error:
        return None
    if not rows:
        return None
    more = len(rows) > MOST_ROWS + 1 or not whole
    return _table(rows[0], rows[1:], of=None if more else len(rows) - 1)


def _parquet(blobs: BlobStore, digest: str, size_bytes: int) -> Preview:
    if size_bytes > PARQUET_BYTES:
        return Preview(kind="none", note=f"The table is larger than {PARQUET_BYTES // 2**20} MB: download it.")
    import duckdb  # half a second that only a look at such a file costs

    try:
        path = str(blobs.path(digest))
        with duckdb.connect(":memory:", config=PARQUET_SETTINGS) as connection:
            (of,) = connection.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [path]).fetchone() or (0,)
            cursor = connection.execute("SELECT * FROM read_parquet(?) LIMIT ?", [path, MOST_ROWS])
            columns = [column[0] for column in cursor.description or ()]
            return _table(columns, cursor.fetchall(), of=int(of or 0))
    except (duckdb.Error, TournantError) as exc:
        return Preview(kind="none", note=f"It is no Parquet that can be read: {str(exc).splitlines()[0]}")


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, of: int | None) -> Preview:
    shown = [tuple(_cell(value) for value in row[:MOST_COLUMNS]) for row in list(rows)[:MOST_ROWS]]
    notes = []
    if of is None:
        notes.append(f"The first {len(shown)} rows; there are more.")
    elif of > len(shown):
        notes.append(f"The first {len(shown)} of {of:,} rows.")
    if len(columns) > MOST_COLUMNS:
        notes.append(f"The first {MOST_COLUMNS} of {len(columns):,} columns.")
    return Preview(
        kind="table",
        columns=tuple(_cell(name) for name in columns[:MOST_COLUMNS]),
        rows=tuple(shown),
        note=" ".join(notes),
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = str(value)
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
