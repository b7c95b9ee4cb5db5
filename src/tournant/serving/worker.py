"""The worker: runs one model in the model's own environment. Standard library only, CPython 3.8 to 3.13, one file.

Started by the gateway as `python worker.py` with file descriptor 0 a Unix socket. Nothing of tournant is imported, and
nothing is unpickled from the wire. A frame is two unsigned 32-bit big-endian lengths, a JSON header and a JSON payload:

    load     {"op": "load", "folder", "entry", "predict", "kind", "columns": [[name, type], ...]} -> {"ok": true}
    predict  {"op": "predict", "id", "rows"} + {column: [value, ...]}                   -> {"ok": true, "id"} + [score, ...]
    either   {"ok": false, "id", "error"} when the model raised

A score is a number, or a list with one probability a class; what is not finite travels as null. Each answer's header also
tells the `seconds` it took here, without the way, and without the wait for a core where Linux tells of it.
"""

from __future__ import annotations  # annotations are not evaluated: 3.8 need not know their syntax

import ctypes
import importlib.util
import json
import math
import os
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

LENGTHS = struct.Struct(">II")
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve frames until the gateway closes the socket."""
    die_with_parent()
    link = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a model that reads its input must not eat frames
    model: Model | None = None
    waited = core_wait()
    while True:
        frame = receive(link)
        if frame is None:
            return
        began = time.perf_counter() - waited()
        header, payload = frame
        answer: dict[str, Any] = {"ok": True}
        body = b""
        try:
            if header["op"] == "load":
                model = Model(header)
            else:
                assert model, "predict came before load"
                body = dump(model.predict(json.loads(payload), header["rows"]))
        except Exception as exc:
            traceback.print_exc()
            answer = {"ok": False, "error": describe(exc)}
        answer["id"] = header.get("id", 0)
        answer["seconds"] = max(0.0, time.perf_counter() - waited() - began)
        sys.stdout.flush()
        sys.stderr.flush()
        send(link, answer, body)


def die_with_parent() -> None:
    """Ask Linux to end this process with the gateway; elsewhere the closed socket does, once the model is idle."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before we asked
        os._exit(1)


def core_wait() -> Callable[[], float]:
    """Give what tells the seconds for which this thread was ready to run and had no core; 0 where that is not told."""
    try:
        told = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        int(os.pread(told, 64, 0).split()[1])
    except (OSError, IndexError, ValueError):
        return lambda: 0.0
    return lambda: int(os.pread(told, 64, 0).split()[1]) / 1e9


class Model:
    """A loaded model with its columns."""

    def __init__(self, header: dict[str, Any]) -> None:
        """Load the entry of a model folder."""
        folder = header["folder"]
        os.chdir(folder)
        sys.path.insert(0, folder)  # a model's own modules lie beside it
        self.columns = header["columns"]
        self.kind = header["kind"]
        model = load(Path(folder, header["entry"]))
        self.method = method_of(model, header["predict"])
        self.frame = optional("pandas")

    def predict(self, columns: dict[str, list[Any]], rows: int) -> list[Any]:
        """Give one score a row of `columns`, lists by name."""
        result = self.method(self.table(columns))
        result = result.tolist() if hasattr(result, "tolist") else list(result)
        if len(result) != rows:
            raise ValueError(f"the model gave {len(result)} predictions for {rows} rows")
        return [self.score(value) for value in result]

    def table(self, columns: dict[str, list[Any]]) -> Any:
        """Make a pandas DataFrame of named columns; without pandas, a 2-D numpy array; without numpy, a list of rows."""
        typed = {name: convert(columns[name], kind) for name, kind in self.columns}
        if self.frame is not None:
            return self.frame.DataFrame(typed, columns=[name for name, _ in self.columns])
        rows = [list(row) for row in zip(*typed.values())]  # noqa: B905 - strict= came with 3.10
        numpy = optional("numpy")
        if numpy is None:
            return rows
        texts = any(kind == "string" for _, kind in self.columns)
        return numpy.array(rows, dtype=object if texts else float)

    def score(self, value: Any) -> Any:
        """Give a row's result as the signature's output has it."""
        if isinstance(value, (list, tuple)):
            values = [float(v) for v in value]
            return values if self.kind == "probabilities" else values[-1]
        return float(value)


def convert(values: list[Any], kind: str) -> list[Any]:
    """Give a column's values as the model shall see them: a missing number is NaN, a missing text empty."""
    if kind == "string":
        return ["" if value is None else value for value in values]
    if kind == "number":
        return [math.nan if value is None else float(value) for value in values]
    if None in values:
        return [math.nan if value is None else value for value in values]
    return values


def load(path: Path) -> Any:
    """Load a pickled model by joblib if the environment has it, or the class `Model` (or object `model`) of a .py file."""
    if path.suffix == ".py":
        spec = importlib.util.spec_from_file_location("model_entry", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules["model_entry"] = module
        spec.loader.exec_module(module)
        return module.model if hasattr(module, "model") else module.Model()
    joblib = optional("joblib")
    if joblib is not None:
        return joblib.load(path)
    import pickle  # reads what cloudpickle wrote too, if cloudpickle is installed

    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 - the registered model itself, checked by its digest


def method_of(model: Any, name: str) -> Any:
    """Give the method that predicts; a plain function is its own."""
    if hasattr(model, name):
        return getattr(model, name)
    if callable(model):
        return model
    raise AttributeError(f"the model ({type(model).__name__}) has no method {name!r}")


def optional(name: str) -> Any:
    """Import a module if the environment has it."""
    try:
        return __import__(name)
    except ImportError:
        return None


def dump(scores: list[Any]) -> bytes:
    """Encode scores; what is not finite becomes null, which JSON has a word for."""
    return json.dumps([plain(score) for score in scores]).encode()


def plain(score: Any) -> Any:
    """Give a finite score, or None."""
    if isinstance(score, list):
        return [plain(value) for value in score]
    return score if math.isfinite(score) else None


def describe(exc: BaseException) -> str:
    """Give an exception in one line, with the place it came from."""
    frames = traceback.extract_tb(exc.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(exc).__name__}: {str(exc)[:500]}{place}"


def receive(link: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame; None at the end."""
    lengths = exactly(link, LENGTHS.size)
    if lengths is None:
        return None
    header_size, payload_size = LENGTHS.unpack(lengths)
    header, payload = exactly(link, header_size), exactly(link, payload_size)
    return None if header is None or payload is None else (json.loads(header), payload)


def exactly(link: socket.socket, size: int) -> bytes | None:
    """Read `size` bytes; None if the socket ends before."""
    parts = []
    while size:
        part = link.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def send(link: socket.socket, header: dict[str, Any], payload: bytes) -> None:
    """Write one frame."""
    encoded = json.dumps(header).encode()
    link.sendall(LENGTHS.pack(len(encoded), len(payload)) + encoded + payload)


if __name__ == "__main__":
    main()
