"""Freezing: a retraining's dataset versions, made of the project's own data and the labelled prediction log."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tournant.domain.data import DatasetVersion
from tournant.domain.deployment import Deployment, Revision
from tournant.domain.predictions import Label, Segment
from tournant.domain.registry import ModelVersion
from tournant.domain.retraining import EvidenceWindow, Retraining, RetrainingPolicy, plan_window
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.services.data import add_dataset_version
from tournant.services.retraining import retraining_folder, unit_seconds

__all__ = ["FROZEN_SOURCE", "FrozenData", "freeze_data"]

FROZEN_SOURCE = "prediction log"  # how the source of every frozen dataset version begins
_ALL_ROWS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenData:
    """What a challenger learns from and is judged on, as dataset version ids, with a sentence for people."""

    dataset_version: str
    gate_dataset_version: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Material:
    """All that is read from the metadata, in one transaction."""

    deployment: Deployment
    policy: RetrainingPolicy
    champion: ModelVersion
    base: DatasetVersion
    learnt: tuple[DatasetVersion, ...]  # what the champion was trained on
    segments: list[Segment]
    labels: list[Label]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """The project's own data: a Parquet file under its own name, its rows and their event times (none if it has no such column)."""

    name: str
    path: Path
    rows: int
    times: npt.NDArray[np.float64]

    @property
    def end(self) -> float:
        return float(self.times.max()) if len(self.times) else -math.inf

    def rows_in(self, window: EvidenceWindow) -> int:
        if not len(self.times):
            return self.rows
        return int(((self.times >= window.start) & (self.times < window.cut)).sum())


def freeze_data(ctx: Context, retraining: Retraining) -> FrozenData:
    """Freeze the rows to learn from, `[start, cut)`, and those to judge on, `[cut, end)`, as two dataset versions.

    Done twice it gives the same versions. Conflict when the log cannot serve yet, with what is missing.
    """
    with ctx.transactions.begin(write=False) as uow:
        material = _gather(uow, retraining)
    window = plan_window(
        material.policy,
        now=retraining.started_at,
        unit_seconds=unit_seconds(material.deployment.config.monitors),
        maturity_seconds=material.deployment.config.labels.maturity_seconds,
    )
    base = _read_base(ctx, material.base)
    _check_unseen(material, window, base)
    train, gate = (retraining_folder(ctx, retraining.id) / kind / base.name for kind in ("train", "gate"))
    rows = _write_rows(ctx, material, base, window, train)
    judged = _write_gate_rows(ctx, material, window, gate)
    fresh = rows - base.rows_in(window)
    if not fresh or not judged:
        what, start, end = ("judge", window.cut, window.end) if fresh else ("learn from", base.end, window.cut)
        raise Conflict(f"the prediction log has no labelled row from {_day(start)} to {_day(end)} to {what}")
    return _register(ctx, retraining, material, window, train, gate, fresh=fresh, judged=judged)


def _gather(uow: UnitOfWork, retraining: Retraining) -> _Material:
    deployment = uow.get(Deployment, retraining.deployment)
    policy = deployment.config.retraining if deployment else None
    stable = uow.get(Revision, deployment.stable) if deployment else None
    champion = uow.get(ModelVersion, stable.model_version) if stable else None
    if deployment is None or policy is None or champion is None:
        raise NotFound(f"deployment {retraining.deployment!r} has no retraining policy or champion any more")
    versions = [uow.get(DatasetVersion, version_id) for version_id in champion.datasets]
    return _Material(
        deployment=deployment,
        policy=policy,
        champion=champion,
        base=_find_base(uow, policy),
        learnt=tuple(version for version in versions if version),
        segments=uow.find(Segment, deployment=deployment.name, order="start,digest"),
        labels=uow.find(Label, deployment=deployment.name, order="reference"),
    )


def _find_base(uow: UnitOfWork, policy: RetrainingPolicy) -> DatasetVersion:
    """Give the newest version of the policy's dataset that is the project's own."""
    for version in uow.find(DatasetVersion, dataset=policy.dataset, order="-number"):
        if not version.source.startswith(FROZEN_SOURCE):
            return version
    raise NotFound(
        f"dataset {policy.dataset!r} has no version that could be extended; "
        "name it under `data:` in tournant.yaml and run the project: tournant run"
    )


def _read_base(ctx: Context, version: DatasetVersion) -> _Base:
    files = {name: file for name, file in ctx.blobs.tree(version.digest).files.items() if name.endswith(".parquet")}
    if len(files) != 1 or version.files != 1:
        raise Invalid(
            f"{version.id} is not a single Parquet file, so the prediction log's rows cannot be added to it; "
            "keep the dataset that `retraining:` names as one .parquet file",
            place=version.id,
        )
    name, file = next(iter(files.items()))
    path = ctx.blobs.path(file.digest)
    columns = ctx.predictions.sample(path, _ALL_ROWS)
    return _Base(
        name=Path(name).name,
        path=path,
        rows=len(next(iter(columns.values()))),
        times=_seconds(columns.get("event_time")),
    )


def _seconds(times: npt.NDArray[np.generic] | None) -> npt.NDArray[np.float64]:
    if times is None:
        return np.array([])
    if times.dtype.kind == "M":
        return times.astype("datetime64[us]").astype(np.int64) / 1e6
    return times.astype(np.float64)


def _check_unseen(material: _Material, window: EvidenceWindow, base: _Base) -> None:
    """Refuse rows to judge on that the champion has learnt from."""
    cuts = (version.details.get("cut") for version in material.learnt)
    learnt_to = max([base.end, *(float(cut) for cut in cuts if cut is not None)])
    if learnt_to > window.cut:
        raise Conflict(
            f"{material.champion.id} has learnt from rows up to {_day(learnt_to)}, and the gate's "
            f"{material.policy.gate_units} units begin on {_day(window.cut)}: wait for later ones, or lower gate: units"
        )


def _write_rows(ctx: Context, material: _Material, base: _Base, window: EvidenceWindow, target: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    return ctx.predictions.freeze(
        base.path,
        [segment for segment in material.segments if segment.start < window.cut],
        material.labels,
        target,
        start=window.start,
        end=window.cut,
        label_column=material.deployment.config.labels.column,
        inputs=_inputs(material.champion),
        log_start=math.nextafter(base.end, math.inf),
    )


def _write_gate_rows(ctx: Context, material: _Material, window: EvidenceWindow, target: Path) -> int:
    segments = [s for s in material.segments if s.end >= window.cut and s.start < window.end]
    if not segments:
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    return ctx.predictions.freeze(
        None,
        segments,
        material.labels,
        target,
        start=window.cut,
        end=window.end,
        label_column=material.deployment.config.labels.column,
        inputs=_inputs(material.champion),
    )


def _inputs(version: ModelVersion) -> list[str]:
    return [column.name for column in version.signature.inputs]


def _register(
    ctx: Context,
    retraining: Retraining,
    material: _Material,
    window: EvidenceWindow,
    train: Path,
    gate: Path,
    *,
    fresh: int,
    judged: int,
) -> FrozenData:
    span = f"{material.base.id} and {fresh:,} labelled rows before {_day(window.cut)}"
    source = f"{FROZEN_SOURCE} of {material.deployment.name}: {span}"
    details: dict[str, float | str] = {"cut": window.cut, "end": window.end, "retraining": retraining.id}
    learning = add_dataset_version(
        ctx, material.policy.dataset, train, source=source, details={**details, "base": material.base.id}
    )
    judging = add_dataset_version(
        ctx,
        f"{material.policy.dataset}-gate",
        gate,
        source=f"{FROZEN_SOURCE} of {material.deployment.name}: {judged:,} labelled rows "
        f"from {_day(window.cut)} to {_day(window.end)}",
        details=details,
    )
    summary = f"{learning.id} frozen: {span}; {judged:,} later rows held back as {judging.id}"
    return FrozenData(dataset_version=learning.id, gate_dataset_version=judging.id, summary=summary)


def _day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M") if math.isfinite(time) else "the beginning"
