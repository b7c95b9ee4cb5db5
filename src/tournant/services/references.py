"""Reference profiles: what a model version was made on, by unit of evidence."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tournant.domain.performance import losses
from tournant.domain.profile import SCORE, ReferenceProfile, profile_columns, profile_like
from tournant.domain.registry import ModelVersion
from tournant.errors import NotFound
from tournant.ports import Columns
from tournant.services.context import Context

__all__ = ["UNIT_SECONDS", "build_reference", "metric_for"]

UNIT_SECONDS = {"hour": 3600.0, "day": 86_400.0}
REFERENCE_ROWS = 200_000
_PROBABILITY_METRICS = ("log_loss", "brier", "error_rate")


def build_reference(
    ctx: Context, model_version: str, *, unit: str = "day", metric: str = "log_loss"
) -> ReferenceProfile:
    """Profile a model version's reference rows by unit of evidence and store it, unless that is done already.

    The rows' label and time are the columns named by the version's tags `label_column` and `time_column` (or `label` and
    `event_time`). A column `score` holds what the model predicts for these rows, which it did not learn from: mean
    losses a unit follow from it. Without reference rows the profile is empty, and the first live units fill it.
    """
    with ctx.transactions.begin(write=False) as uow:
        version = uow.get(ModelVersion, model_version)
        known = uow.get(ReferenceProfile, model_version)
    if version is None:
        raise NotFound(f"there is no model version {model_version!r}; see: tournant models list")
    if known and known.unit == unit:
        return known
    built = _profile_reference(ctx, version, unit, metric_for(metric, version))
    with ctx.transactions.begin() as uow:
        uow.save(built)
        uow.record(
            ctx.event(
                "reference.built",
                f"model_version/{version.id}",
                f"reference of {version.id}: {built.rows:,} rows in {len(built.units)} {unit}s",
            )
        )
    return built


def _profile_reference(ctx: Context, version: ModelVersion, unit: str, metric: str) -> ReferenceProfile:
    empty = ReferenceProfile(model_version=version.id, unit=unit, created_at=ctx.clock.now())
    if not version.reference:
        return empty
    rows = ctx.predictions.sample(ctx.blobs.path(version.reference), REFERENCE_ROWS)
    names = [column.name for column in version.signature.inputs if column.name in rows]
    scored = {SCORE: _floats(rows["score"])} if "score" in rows else {}
    columns: Columns = {**{name: rows[name] for name in names}, **scored}
    index = _unit_index(rows, version.tags.get("time_column", "event_time"), UNIT_SECONDS[unit])
    template = profile_columns(columns)
    units = tuple(
        profile_like({name: values[index == number] for name, values in columns.items()}, template)
        for number in np.unique(index)
    )
    filled = replace(empty, rows=len(index), units=units)
    label = version.tags.get("label_column", "label")
    if not scored or label not in rows:
        return filled
    row_losses = losses(metric, scored[SCORE], _floats(rows[label]))
    return replace(filled, unit_losses=_unit_means(index, row_losses), loss=_mean(row_losses))


def _unit_index(rows: Columns, time_column: str, seconds: float) -> npt.NDArray[Any]:
    """Number each row's unit; rows without a time column are all of one unit."""
    count = len(next(iter(rows.values()), np.array([])))
    times = rows.get(time_column)
    if times is None or times.dtype.kind not in "iufM":
        return np.zeros(count)
    if times.dtype.kind == "M":
        times = times.astype("datetime64[us]").astype(np.float64) / 1e6
    return np.floor(times.astype(np.float64) / seconds)


def _unit_means(index: npt.NDArray[Any], values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Mean losses a unit in order of time; a unit with under a quarter of the usual labelled rows is left out."""
    known = ~np.isnan(values)
    _, position = np.unique(index[known], return_inverse=True)
    counts, sums = np.bincount(position), np.bincount(position, values[known])
    kept = counts >= np.median(counts) / 4 if len(counts) else counts > 0
    return tuple((sums[kept] / counts[kept]).tolist())


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _floats(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return values.astype(np.float64) if values.dtype.kind in "biuf" else np.full(len(values), np.nan)


def metric_for(metric: str, version: ModelVersion | None) -> str:
    """A number has no log loss: judge it by its squared error."""
    number = version is not None and version.signature.output.kind == "number"
    return "squared_error" if number and metric in _PROBABILITY_METRICS else metric
