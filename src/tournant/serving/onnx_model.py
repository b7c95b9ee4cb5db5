"""Converted models, run by onnxruntime in this process."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from tournant.domain.registry import Column, ColumnType, Signature
from tournant.errors import Invalid
from tournant.serving.failures import ModelFailed
from tournant.serving.metrics import Sample
from tournant.serving.outputs import Score
from tournant.serving.schema import Values

__all__ = ["ConvertedModel"]

Array = npt.NDArray[Any]
Feed = Callable[[Sequence[Values]], dict[str, Array]]
_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}
SLOW_MS = 2.0  # a model slower than this at p99.9 would hold up every other request: it runs beside the event loop


class ConvertedModel:
    """An ONNX model behind named columns.

    Inputs are mapped by name: one `[N, 1]` (or `[N]`) tensor a column; or one matrix `[N, columns]` in the signature's
    order. Of the outputs, the probabilities (last class, or all) or the first number is taken.
    """

    mode = "converted"
    held_up = 0

    def __init__(self, path: Path, signature: Signature) -> None:
        """Load `path`; Invalid if it is no model, or its inputs and outputs do not meet the signature."""
        self._signature = signature
        self._session = _open(path)
        self._feed = _plan_feed(self._session.get_inputs(), signature.inputs)
        self._output = _choose_output(self._session.get_outputs(), signature.output.kind)
        self._single: _Single | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._usual_seconds = 0.0

    @property
    def inline(self) -> bool:
        """Whether it runs on the event loop itself."""
        return self._thread is None

    async def predict(self, rows: Sequence[Values]) -> Sequence[Score]:
        """Give one score a row."""
        if self._thread is None:
            if self._single and len(rows) == 1:
                return [self._run_single(self._single, rows[0])]
            return self.run(rows)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self.run, rows)
        finally:
            self._waiting -= 1

    def wait_seconds(self) -> float:
        """Estimate the wait for the model's thread; on the event loop there is none but the loop's own."""
        return self._waiting * self._usual_seconds

    def samples(self, _revision: str) -> Iterable[Sample]:
        """Give nothing: there is no queue and no process."""
        return ()

    def run(self, rows: Sequence[Values]) -> Sequence[Score]:
        """Give one score a row, in the calling thread."""
        try:
            raw = self._session.run([self._output], self._feed(rows))[0]
        except Exception as exc:  # onnxruntime raises classes of its own that share no base but this one
            raise ModelFailed(f"the converted model raised: {_first_line(exc)}") from exc
        return self._scores(raw)

    def measure(self, rows: Sequence[Values], *, runs: int = 300) -> float:
        """Give p99.9 in milliseconds of CPU over single rows, and move to a thread if that is slow.

        By the clock it would be the load that decides: a model that is loaded beside a busy event loop waits for it (for
        the interpreter's lock, and for a core) between and after its runs, and would be in a thread for all its life.
        """
        self.run(rows[:1])  # the first run allocates
        self._single = self._bind(rows[0])
        taken = sorted(self._time(rows[index % len(rows)]) for index in range(runs))
        p999 = taken[min(runs - 1, int(runs * 0.999))]
        # One outlier in 300 runs is as likely the machine's as the model's: both must be slow.
        if p999 > SLOW_MS and taken[int(runs * 0.9)] > SLOW_MS / 2:
            self._usual_seconds = taken[runs // 2] / 1e3
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="converted")
        return p999

    async def close(self) -> None:
        """Let the thread end once it is idle; memory goes with the last reference."""
        if self._thread:
            self._thread.shutdown(wait=False)

    def _bind(self, row: Values) -> "_Single | None":
        """Give the quicker way for single rows if the model has one matrix of numbers, and gives numbers for `row`."""
        (name, block), *more = self._feed([row]).items()
        raw = self._session.run([self._output], {name: block})[0] if not more else None
        if block.dtype == object or not isinstance(raw, np.ndarray) or raw.dtype == object or not raw.size:
            return None
        return _Single(self._session, name, block, self._output, raw)

    def _run_single(self, single: "_Single", row: Values) -> Score:
        try:
            values = single.run(row)
        except Exception:  # this row's output may have a shape of its own
            return self.run([row])[0]
        return values if self._signature.output.kind == "probabilities" else values[-1]

    def _time(self, row: Values) -> float:
        started = time.thread_time()  # all of it: the session has no threads of its own
        self.run([row])
        return (time.thread_time() - started) * 1e3

    def _scores(self, raw: Any) -> Sequence[Score]:
        if isinstance(raw, list):  # zipmap: one {class: probability} a row
            table = [[float(value) for value in row.values()] for row in raw]
            return table if self._signature.output.kind == "probabilities" else [row[-1] for row in table]
        array = np.asarray(raw, dtype=np.float64)
        if self._signature.output.kind == "probabilities":
            return array.tolist()  # type: ignore[no-any-return]
        return (array if array.ndim == 1 else array.reshape(len(array), -1)[:, -1]).tolist()  # type: ignore[no-any-return]


class _Single:
    """Runs single rows in memory that is bound once, which saves half of a small model's time. For one thread at a time."""

    def __init__(self, session: Any, name: str, block: Array, output: str, raw: Array) -> None:
        """Feed matrices like `block`, and take outputs like `raw`."""
        self._session = session
        self._row, self._out = np.ascontiguousarray(block), np.ascontiguousarray(raw)
        self._values = self._out.reshape(-1)
        self._binding = session.io_binding()
        for bind, tensor, array in (
            (self._binding.bind_input, name, self._row),
            (self._binding.bind_output, output, self._out),
        ):
            bind(tensor, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def run(self, row: Values) -> list[float]:
        """Give the outputs of one row."""
        self._row[0] = row
        self._session.run_with_iobinding(self._binding)
        return self._values.astype(np.float64).tolist()


def _open(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime raises classes of its own that share no base but this one
        raise Invalid(f"onnxruntime cannot load the model: {_first_line(exc)}") from exc


def _plan_feed(inputs: Sequence[Any], columns: Sequence[Column]) -> Feed:
    names = {column.name: index for index, column in enumerate(columns)}
    for tensor in inputs:
        if tensor.type not in _DTYPES:
            raise Invalid(f"the model's input {tensor.name!r} is a {tensor.type}, which tournant cannot feed")
    if all(tensor.name in names for tensor in inputs):
        return _named_feed(inputs, names, columns)
    if len(inputs) == 1:
        return _matrix_feed(inputs[0], columns)
    wanted = ", ".join(repr(tensor.name) for tensor in inputs)
    raise Invalid(f"the model's inputs ({wanted}) are not columns of its signature ({', '.join(names)})")


def _named_feed(inputs: Sequence[Any], names: dict[str, int], columns: Sequence[Column]) -> Feed:
    """One tensor a column; columns of a type are read together and cut apart, which costs a third of one by one."""
    groups: dict[str, list[Any]] = {}
    for tensor in inputs:
        groups.setdefault(tensor.type, []).append(tensor)
    plans = [
        (
            _reader([names[t.name] for t in tensors], columns, _DTYPES[kind]),
            [(t.name, len(t.shape) == 1) for t in tensors],
        )
        for kind, tensors in groups.items()
    ]

    def feed(rows: Sequence[Values]) -> dict[str, Array]:
        tensors: dict[str, Array] = {}
        for read, targets in plans:
            block = read(rows)
            for index, (name, flat) in enumerate(targets):
                tensors[name] = block[:, index] if flat else block[:, index : index + 1]
        return tensors

    return feed


def _matrix_feed(tensor: Any, columns: Sequence[Column]) -> Feed:
    width = tensor.shape[-1] if len(tensor.shape) == 2 else None
    if len(tensor.shape) != 2 or (isinstance(width, int) and width != len(columns)):
        message = (
            f"the model's input {tensor.name!r} has shape {tensor.shape}, and the signature {len(columns)} columns"
        )
        raise Invalid(message)
    texts = [column.name for column in columns if column.type is ColumnType.STRING]
    if texts and tensor.type != "tensor(string)":
        raise Invalid(f"the model takes a matrix of numbers, but column {texts[0]!r} is text")
    read = _reader(list(range(len(columns))), columns, _DTYPES[tensor.type])
    name = tensor.name
    return lambda rows: {name: read(rows)}


def _reader(indexes: list[int], columns: Sequence[Column], dtype: Any) -> Callable[[Sequence[Values]], Array]:
    """Give what turns rows into an array `[N, len(indexes)]`; a missing number is NaN, a missing text empty."""
    pick: Callable[[Values], tuple[Any, ...]] = itemgetter(*indexes)
    if len(indexes) == 1:
        only = indexes[0]
        pick = lambda row: (row[only],)  # noqa: E731 - one of two forms of the same thing
    if dtype is object and any(columns[index].nullable for index in indexes):
        return lambda rows: np.array([["" if v is None else v for v in pick(row)] for row in rows], dtype=object)
    if dtype is object:
        return lambda rows: np.array([pick(row) for row in rows], dtype=dtype)
    width = len(indexes)
    picked = (lambda rows: rows) if indexes == list(range(len(columns))) else partial(map, pick)

    def numbers(rows: Sequence[Values]) -> Array:
        flat = chain.from_iterable(picked(rows))
        return np.fromiter(flat, dtype=dtype, count=width * len(rows)).reshape(-1, width)

    return numbers


def _choose_output(outputs: Sequence[Any], kind: str) -> str:
    def looks_like_probabilities(tensor: Any) -> bool:
        return "float" in tensor.type or "double" in tensor.type

    if kind == "number":
        usable = [tensor for tensor in outputs if tensor.type in _DTYPES and tensor.type != "tensor(string)"]
    else:
        usable = sorted(filter(looks_like_probabilities, outputs), key=lambda tensor: "prob" not in tensor.name)
    if not usable:
        found = ", ".join(f"{tensor.name}: {tensor.type}" for tensor in outputs)
        raise Invalid(f"none of the model's outputs ({found}) can be a {kind}")
    return str(usable[0].name)


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]
