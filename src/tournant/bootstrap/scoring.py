"""Scores rows with registered model versions exactly as a gateway would serve them."""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from tournant.domain.environment import Environment
from tournant.domain.registry import Column, ColumnType, ConversionStatus, ModelVersion, Scalar
from tournant.errors import Invalid
from tournant.ports import Columns
from tournant.services.context import Context
from tournant.serving.failures import ModelFailed
from tournant.serving.onnx_model import ConvertedModel
from tournant.serving.outputs import Score, headline
from tournant.serving.replica import Replica
from tournant.serving.schema import Values
from tournant.serving.worker_process import WorkerModel

__all__ = ["ServedScorer"]

Floats = npt.NDArray[np.float64]
_BATCH = 2_000
_CONVERTED = (ConversionStatus.SUCCESSFUL, ConversionStatus.NATIVE)
_PYTHON: dict[ColumnType, Callable[[Any], Scalar]] = {
    ColumnType.STRING: str,
    ColumnType.INTEGER: int,
    ColumnType.NUMBER: float,
    ColumnType.BOOLEAN: bool,
}


class ServedScorer:
    """A `services.challengers.Scorer` on the data plane's own model runners: converted where there is a conversion."""

    def __init__(self, ctx: Context) -> None:
        """Take models and environments of the house `ctx`."""
        self._ctx = ctx

    def score(self, version: ModelVersion, rows: Columns) -> Floats:
        """Give one number a row: P(last class), or the value; NaN where the model fails on it."""
        values = list(zip(*(_values(column, rows) for column in version.signature.inputs), strict=True))
        if version.conversion.status in _CONVERTED:
            model = ConvertedModel(self._ctx.blobs.path(version.conversion.digest), version.signature)
            return _gather(values, model.run)
        return self._score_in_environment(version, values)

    def _score_in_environment(self, version: ModelVersion, values: list[Values]) -> Floats:
        with self._ctx.transactions.begin(write=False) as uow:
            environment = uow.get(Environment, version.environment)
        if environment is None:
            raise Invalid(f"{version.id} has neither a converted model nor an environment to run in")
        python = self._ctx.environments.build(environment)
        with TemporaryDirectory(prefix="tournant-score-") as temporary:
            folder = Path(temporary) / "model"
            self._ctx.blobs.checkout(version.digest, folder)
            model = WorkerModel(
                python=python,
                folder=folder,
                entry=version.entry,
                predict=version.predict,
                signature=version.signature,
                log=Path(temporary) / "worker.log",
                environ=self._ctx.settings.child_environ({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
            )
            return asyncio.run(_score_by_worker(model, values))


async def _score_by_worker(model: WorkerModel, values: list[Values]) -> Floats:
    replica = Replica(model)
    await replica.start()
    try:
        scores = []
        for batch in _batches(values):
            try:
                scores.append(_numbers(await replica.predict(batch)))
            except ModelFailed:
                scores.append(np.array([await _one(replica, row) for row in batch]))
        return np.concatenate(scores)
    finally:
        await replica.close()


async def _one(replica: Replica, row: Values) -> float:
    try:
        return float(_numbers(await replica.predict([row]))[0])
    except ModelFailed:
        return math.nan


def _gather(values: list[Values], predict: Callable[[Sequence[Values]], Sequence[Score]]) -> Floats:
    def tried(batch: Sequence[Values]) -> Floats:
        try:
            return _numbers(predict(batch))
        except ModelFailed:
            if len(batch) == 1:
                return np.array([math.nan])
            return np.concatenate([tried([row]) for row in batch])  # one bad row must not spoil its neighbours

    return np.concatenate([tried(batch) for batch in _batches(values)])


def _batches(values: list[Values]) -> Iterator[list[Values]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def _numbers(scores: Sequence[Score]) -> Floats:
    return np.array([headline(score) for score in scores], dtype=np.float64)  # null becomes NaN


def _values(column: Column, rows: Columns) -> list[Scalar]:
    """Give a column's values as a request would bring them: a missing number is None."""
    if column.name not in rows:
        raise Invalid(f"the rows to score have no column {column.name!r} (they have: {', '.join(rows)})")
    convert = _PYTHON[column.type]
    return [None if _is_missing(value) else convert(value) for value in rows[column.name].tolist()]


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
