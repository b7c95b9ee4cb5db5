"""The local spool of predictions: NDJSON files that the event loop appends to, and that outlive the process.

`<name>.open` is being written; a rotation renames it to `<name>.ndjson`, and from then on it belongs to the uploader.
`<name>.columns.json` beside it says which deployment and which input columns it holds. What is in memory is written at
least every `FLUSH_SECONDS`: a SIGKILL loses no more than that.
"""

import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from tournant.domain.registry import ColumnType
from tournant.serving.schema import RowSchema

__all__ = ["FLUSH_SECONDS", "Record", "Segmented", "Spool", "SpoolHeader", "header_of"]

FLUSH_SECONDS = 0.1
LIMIT_BYTES = 1 << 30
ROTATE_BYTES = 64 << 20
TOGETHER = 64  # records that are encoded at once: a third cheaper than one by one
_encoder = msgspec.json.Encoder()
_SQL_TYPES = {
    ColumnType.STRING: "VARCHAR",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.NUMBER: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
}


class Record(msgspec.Struct, frozen=True, gc=False):
    """One (prediction, revision) as it stands in the spool; `inputs` is the row, and None on shadows."""

    prediction_id: str
    key: str
    entity: str | None
    event_time: float
    revision: str
    role: str
    rollout: str
    epoch: int
    score: float | None
    scores: list[float] | None
    error: str | None
    latency_ms: float
    fallback: bool
    inputs: Any


class SpoolHeader(msgspec.Struct, frozen=True):
    """What a spool file holds: input columns are pairs of name and SQL type."""

    deployment: str
    columns: tuple[tuple[str, str], ...]


class Segmented(msgspec.Struct, frozen=True, kw_only=True):
    """A spool file as Parquet; `rows` 0 means there was nothing whole in it, and no file."""

    deployment: str = ""
    path: str = ""
    digest: str = ""
    rows: int = 0
    size_bytes: int = 0
    start: float = 0.0
    end: float = 0.0
    error: str = ""


def header_of(
    deployment: str, schema: RowSchema, *, drop: Collection[str] = (), hashed: Collection[str] = ()
) -> SpoolHeader:
    """Give the header for a deployment's rows, without the columns in `drop` and with digests of those in `hashed`."""
    types = {name: "VARCHAR" if name in hashed else _SQL_TYPES[column.type] for name, column in schema.columns.items()}
    return SpoolHeader(deployment, tuple((name, kind) for name, kind in types.items() if name not in drop))


class _File:
    """One spool file being written."""

    def __init__(self, path: Path, header: SpoolHeader) -> None:
        self.header = header
        self.path = path
        self.size_bytes = 0
        self.held = 0  # records in memory
        self.pending: list[Record] = []
        self.encoded: list[bytes] = []
        path.with_suffix(".columns.json").write_bytes(msgspec.json.encode(header))
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, record: Record) -> None:
        """Keep a record until the next flush."""
        self.held += 1
        self.pending.append(record)
        if len(self.pending) >= TOGETHER:
            self.encode()

    def encode(self) -> None:
        """Encode what is pending."""
        self.encoded.append(_encoder.encode_lines(self.pending))
        self.pending.clear()

    def forget(self) -> int:
        """Forget what is in memory; give how many records that were."""
        held, self.held = self.held, 0
        self.pending.clear()
        self.encoded.clear()
        return held

    def flush(self) -> int:
        """Write what is in memory; give its bytes."""
        if not self.held:
            return 0
        self.encode()
        block = b"".join(self.encoded)
        self.encoded.clear()
        view = memoryview(block)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self.held = 0
        self.size_bytes += len(block)
        return len(block)

    def close(self) -> None:
        os.close(self._descriptor)
        self.path.rename(self.path.with_suffix(".ndjson"))


class Spool:
    """Appends records of several deployments. Belongs to the event loop, except `forget`, which is the uploader's."""

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES, rotate_bytes: int = ROTATE_BYTES) -> None:
        """Write in `folder`; what an earlier life left there is handed to the uploader."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.dropped = 0
        self._limit_bytes = limit_bytes
        self._rotate_bytes = rotate_bytes
        self._files: dict[str, _File] = {}
        self._number = 0
        self._stamp = time.time_ns() // 1_000_000
        for left in folder.glob("*.open"):
            left.rename(left.with_suffix(".ndjson"))
        self._written_bytes = sum(path.stat().st_size for path in folder.glob("*.ndjson"))
        self._removed_bytes = 0  # written by the uploader's thread only

    @property
    def backlog_bytes(self) -> int:
        """What waits to be uploaded, as far as it is written."""
        return self._written_bytes - self._removed_bytes

    def append(self, header: SpoolHeader, record: Record) -> None:
        """Add a record, or count it as dropped when the spool is full."""
        if self._written_bytes - self._removed_bytes > self._limit_bytes:
            self.dropped += 1
            return
        file = self._files.get(header.deployment)
        if file is None or (file.header is not header and file.header != header):
            file = self._open(header)
        file.append(record)

    def flush(self) -> None:
        """Write what is in memory; a file that is large enough is handed to the uploader. Drops what the disk refuses."""
        for file in list(self._files.values()):
            try:
                self._written_bytes += file.flush()
            except OSError:
                self.dropped += file.forget()
            if file.size_bytes > self._rotate_bytes:
                self._close(file)

    def rotate(self) -> None:
        """Hand everything written so far to the uploader."""
        self.flush()
        for file in list(self._files.values()):
            self._close(file)

    def forget(self, size_bytes: int) -> None:
        """Tell that an uploaded file of this size is gone."""
        self._removed_bytes += size_bytes

    def _open(self, header: SpoolHeader) -> _File:
        old = self._files.get(header.deployment)
        if old:
            self._written_bytes += old.flush()
            self._close(old)
        self._number += 1
        path = self.folder / f"{self._stamp:015d}-{self._number:06d}.open"
        file = self._files[header.deployment] = _File(path, header)
        return file

    def _close(self, file: _File) -> None:
        self._files.pop(file.header.deployment)
        file.close()
