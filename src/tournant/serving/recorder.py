"""The recorder: a child process that turns spool files into Parquet, away from the event loop.

Run as `python -m tournant.serving.recorder`; reads one JSON line `{"spool": path}` a job, answers one line a job
(`Segmented`). The process ends when its input does, so it never outlives the gateway.

Each job is done by a fork of it. DuckDB's allocator keeps what a job took, 40 MB and more beside the libraries; it goes with
the fork, and what the libraries cost to load (0.3 CPU seconds) is paid once.
"""

import gc
import os
import sys
import traceback
from pathlib import Path

import blake3
import duckdb
import msgspec

from tournant.serving.spool import Segmented, SpoolHeader

__all__ = ["main", "write_segment"]

# Over six segments of 80,000 rows of 30 features a job stays below 139 MB. With DuckDB's own 122,880 rows a group and no
# limit it was 202 MB, in 0.94 of the CPU time, and files 1 % smaller.
ROW_GROUP_ROWS = 8_192
MEMORY_LIMIT = "64MB"
LARGER_LIMITS = ("512MB", "")  # where rows are too wide for it; the last is DuckDB's own, a share of the machine

_FIXED = {
    "prediction_id": "VARCHAR",
    "key": "VARCHAR",
    "entity": "VARCHAR",
    "event_time": "DOUBLE",
    "revision": "VARCHAR",
    "role": "VARCHAR",
    "rollout": "VARCHAR",
    "epoch": "BIGINT",
    "score": "DOUBLE",
    "scores": "DOUBLE[]",
    "error": "VARCHAR",
    "latency_ms": "DOUBLE",
    "fallback": "BOOLEAN",
}


def write_segment(spool: Path, memory_limit: str = MEMORY_LIMIT) -> Segmented:
    """Write `<spool>.parquet` beside a spool file, in its order; a result of an earlier life is given again.

    A last line without its end was being written when the process died, and is cut off. duckdb.OutOfMemoryException where
    its rows are too wide for `memory_limit`.
    """
    result_path = spool.with_suffix(".segment.json")
    if result_path.exists():
        return msgspec.json.decode(result_path.read_bytes(), type=Segmented)
    header = msgspec.json.decode(spool.with_suffix(".columns.json").read_bytes(), type=SpoolHeader)
    if not _cut_partial_line(spool):
        return Segmented(deployment=header.deployment)
    target = spool.with_suffix(".parquet")
    rows, start, end = _copy(spool, target, header, memory_limit)
    result = Segmented(
        deployment=header.deployment,
        path=str(target),
        digest=_digest(target),
        rows=rows,
        size_bytes=target.stat().st_size,
        start=start,
        end=end,
    )
    temporary = result_path.with_suffix(".part")
    temporary.write_bytes(msgspec.json.encode(result))
    temporary.replace(result_path)
    return result


def _cut_partial_line(spool: Path) -> int:
    """Cut the file after its last newline; give the size that remains."""
    with spool.open("rb+") as file:
        size = file.seek(0, 2)
        while size:
            step = min(size, 1 << 16)
            file.seek(size - step)
            found = file.read(step).rfind(b"\n")
            size = size - step + found + 1 if found >= 0 else size - step
            if found >= 0:
                break
        file.truncate(size)
    return size


def _copy(spool: Path, target: Path, header: SpoolHeader, memory_limit: str) -> tuple[int, float, float]:
    inputs = ", ".join(f"{_name(name)} {kind}" for name, kind in header.columns)
    columns = ", ".join(
        [f"{_text(name)}: {_text(kind)}" for name, kind in _FIXED.items()]
        + ([f"inputs: {_text(f'STRUCT({inputs})')}"] if inputs else [])
    )
    chosen = ", ".join([*_FIXED, *(f"inputs.{_name(name)} as {_name('in.' + name)}" for name, _kind in header.columns)])
    source = f"read_json({_text(str(spool))}, format = 'newline_delimited', columns = {{{columns}}})"
    part = target.with_suffix(".parquet.part")
    with _connect(memory_limit) as connection:
        # Quoted throughout; the names come from registered signatures.
        connection.execute(
            f"copy (select {chosen} from {source}) to {_text(str(part))}"
            f" (format parquet, compression zstd, row_group_size {ROW_GROUP_ROWS})"
        )
        found = connection.execute(
            f"select count(*), min(event_time), max(event_time) from read_parquet({_text(str(part))})"
        ).fetchone()
    assert found is not None
    part.replace(target)
    return int(found[0]), float(found[1]), float(found[2])


def _connect(memory_limit: str) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={
            "threads": 1,
            **({"memory_limit": memory_limit} if memory_limit else {}),
            "temp_directory": "",  # nothing spills: rows that do not fit get more memory
            "preserve_insertion_order": True,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )


def _digest(path: Path) -> str:
    return blake3.blake3(path.read_bytes()).hexdigest()


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _forked(spool: Path, memory_limit: str, *, larger: bool) -> Segmented | None:
    """Write a segment in a fork of this process; None where that takes more memory, and `larger` limits are left."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(msgspec.json.encode(_written(spool, memory_limit, larger=larger)))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if not told:
        raise SystemExit(f"a fork that wrote {spool.name} ended with {os.waitstatus_to_exitcode(status)}")
    return msgspec.json.decode(told, type=Segmented | None)


def _written(spool: Path, memory_limit: str, *, larger: bool) -> Segmented | None:
    try:
        return write_segment(spool, memory_limit)
    except Exception as exc:  # a job that cannot be done must not end the process, and is told to the gateway
        if larger and isinstance(exc, duckdb.OutOfMemoryException):
            return None
        return Segmented(error=f"{type(exc).__name__}: {exc}")


def main() -> None:
    """Answer jobs until the input ends."""
    limits = [MEMORY_LIMIT, *LARGER_LIMITS]  # the first was enough so far
    gc.freeze()  # what is shared with the forks stays so
    for line in sys.stdin.buffer:
        spool = Path(msgspec.json.decode(line)["spool"])
        while (result := _forked(spool, limits[0], larger=len(limits) > 1)) is None:
            limits.pop(0)
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
