"""Realised quality and drift, read from window profiles beside the reference profile."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tournant.domain.alerts import Monitor
from tournant.domain.deployment import Deployment, MonitorConfig
from tournant.domain.drift import psi
from tournant.domain.performance import auroc_of_bins
from tournant.domain.profile import ColumnProfile, ReferenceProfile, WindowProfile, merge_columns
from tournant.domain.registry import ModelVersion
from tournant.services.references import metric_for
from tournant.web.pages.ask import Ask

__all__ = [
    "ColumnDrift",
    "Quality",
    "Unit",
    "column_drifts",
    "quality",
    "read_profiles",
    "unit_seconds",
    "units_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit of evidence of one revision; `loss` and `auroc` are None while nothing is labelled."""

    start: float
    end: float
    revision: str
    rows: int
    errors: int
    labelled: int
    loss: float | None
    auroc: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The current window's mean loss beside the reference's; `limit` is where an increase starts to matter."""

    metric: str
    now: float | None
    reference: float | None
    limit: float | None
    labelled: int
    rows: int

    @property
    def difference(self) -> float | None:
        """Now minus reference."""
        return None if self.now is None or self.reference is None else self.now - self.reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """How far one column's values moved from the reference: population stability index over its bins.

    `drifted` is the drift monitor's judgement (surely and far), which the index alone does not give; `shift` its words.
    """

    name: str
    type: str
    psi: float | None
    limit: float
    drifted: bool
    shift: str
    missing_reference: float | None
    missing_now: float | None
    bins: tuple[str, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]


def unit_seconds(config: MonitorConfig) -> float:
    """Give the length of the unit of evidence."""
    return 3600.0 if config.unit == "hour" else 86_400.0


def read_profiles(ask: Ask, deployment: str, start: float) -> list[WindowProfile]:
    """Read a deployment's window profiles that end after `start`."""
    return ask.uow.find(WindowProfile, deployment=deployment, unit_start__ge=start, order="unit_start,revision")


def units_of(profiles: Iterable[WindowProfile]) -> list[Unit]:
    """Give each profile's quality: its mean loss by the deployment's metric, and its AUROC."""
    return [
        Unit(
            start=p.unit_start,
            end=p.unit_end,
            revision=p.revision,
            rows=p.rows,
            errors=p.errors,
            labelled=p.labelled,
            loss=p.loss_sum / p.labelled if p.labelled else None,
            auroc=_known(auroc_of_bins(p.labelled_bins, p.positive_bins)) if sum(p.positive_bins) else None,
        )
        for p in profiles
    ]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def quality(
    deployment: Deployment,
    version: ModelVersion | None,
    units: Sequence[Unit],
    reference: ReferenceProfile | None,
    monitor: Monitor | None,
) -> Quality:
    """Give the current window: as the performance monitor sees it, or the stable revision's last labelled units."""
    config = deployment.config.monitors
    ours = [unit for unit in units if unit.revision == deployment.stable]
    recent = [unit for unit in ours if unit.labelled][-config.window :]
    labelled = sum(unit.labelled for unit in recent)
    total = math.fsum(unit.labelled * unit.loss for unit in recent if unit.loss is not None)
    mean = total / labelled if labelled else None
    limit = monitor.limit if monitor else None
    expected = limit - config.minimum_increase if limit is not None else reference.loss if reference else None
    judged = monitor is not None and monitor.status in ("ok", "alert") and labelled
    return Quality(
        metric=metric_for(config.metric, version) if version else config.metric,
        now=monitor.value if judged and monitor else mean,
        reference=expected,
        limit=limit,
        labelled=labelled,
        rows=sum(unit.rows for unit in ours[-config.window :]),
    )


def column_drifts(
    reference: Mapping[str, ColumnProfile],
    current: Mapping[str, ColumnProfile],
    limit: float,
    monitor: Monitor | None = None,
) -> tuple[ColumnDrift, ...]:
    """Compare column by column, drifted ones first, then the furthest moved; `monitor` is the drift monitor."""
    told: Any = monitor.state.get("columns") if monitor else None
    judged = {str(column.get("column")): column for column in told or ()}
    found = [
        _compare(name, reference[name], now, judged.get(name, {}), limit)
        for name, now in current.items()
        if name in reference and (reference[name].edges, reference[name].type) == (now.edges, now.type)
    ]
    return tuple(sorted(found, key=lambda column: (not column.drifted, -(column.psi or 0.0))))


def _compare(
    name: str, was: ColumnProfile, now: ColumnProfile, found: Mapping[str, object], limit: float
) -> ColumnDrift:
    bins = merge_columns([was, now]).cells()
    before, after = was.counts_of(bins), now.counts_of(bins)
    known = bool(sum(before)) and bool(sum(after))
    return ColumnDrift(
        name=name,
        type=now.type,
        psi=float(psi(before, after)) if known else None,
        limit=limit,
        drifted=bool(found.get("drifted")),
        shift=str(found.get("shift", "")),
        missing_reference=was.missing / was.rows if was.rows else None,
        missing_now=now.missing / now.rows if now.rows else None,
        bins=tuple(bins),
        reference=tuple(before),
        current=tuple(after),
    )
