"""Realised quality and drift, read from window profiles beside the reference profile."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tournant.domain.deployment import Deployment, MonitorConfig
from tournant.domain.profile import ColumnProfile, ReferenceProfile, WindowProfile
from tournant.web.pages.ask import Ask

__all__ = [
    "ColumnDrift",
    "Quality",
    "Unit",
    "column_drifts",
    "merge_columns",
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
    """How far one column's values moved from the reference: population stability index over its bins."""

    name: str
    type: str
    psi: float | None
    limit: float
    missing_reference: float | None
    missing_now: float | None
    bins: tuple[str, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]

    @property
    def drifted(self) -> bool:
        """Whether the index reaches its limit."""
        return self.psi is not None and self.psi >= self.limit


def unit_seconds(config: MonitorConfig) -> float:
    """Give the length of the unit of evidence."""
    return 3600.0 if config.unit == "hour" else 86_400.0


def read_profiles(ask: Ask, deployment: str, start: float) -> list[WindowProfile]:
    """Read a deployment's window profiles that end after `start`."""
    return ask.uow.find(WindowProfile, deployment=deployment, unit_start__ge=start, order="unit_start,revision")


def units_of(profiles: Iterable[WindowProfile], metric: str) -> list[Unit]:
    """Give each profile's quality by the monitor's metric."""
    return [
        Unit(
            start=p.unit_start,
            end=p.unit_end,
            revision=p.revision,
            rows=p.rows,
            errors=p.errors,
            labelled=p.labelled,
            loss=(p.brier_sum if metric == "brier" else p.loss_sum) / p.labelled if p.labelled else None,
            auroc=_auroc(p.labelled_bins, p.positive_bins),
        )
        for p in profiles
    ]


def _auroc(labelled: Sequence[int], positive: Sequence[int]) -> float | None:
    """Area under the ROC curve from binned scores; ties within a bin count half (Mann-Whitney)."""
    positives = sum(positive)
    negatives = sum(labelled) - positives
    if not positives or negatives <= 0:
        return None
    below, area = 0, 0.0
    for n, p in zip(labelled, positive, strict=True):
        area += p * (below + (n - p) / 2)
        below += n - p
    return area / (positives * negatives)


def quality(deployment: Deployment, units: Sequence[Unit], reference: ReferenceProfile | None, stable: str) -> Quality:
    """Sum the current window: the last labelled `window` units of the stable revision."""
    config = deployment.config.monitors
    ours = [unit for unit in units if unit.revision == stable]
    recent = [unit for unit in ours if unit.labelled][-config.window :]
    labelled = sum(unit.labelled for unit in recent)
    total = math.fsum(unit.labelled * unit.loss for unit in recent if unit.loss is not None)
    expected = reference.loss if reference else None
    return Quality(
        metric=config.metric,
        now=total / labelled if labelled else None,
        reference=expected,
        limit=None if expected is None else expected + config.minimum_increase,
        labelled=labelled,
        rows=sum(unit.rows for unit in ours[-config.window :]),
    )


def merge_columns(units: Iterable[dict[str, ColumnProfile]]) -> dict[str, ColumnProfile]:
    """Add column profiles by name; ones over other bins than the first are left out."""
    merged: dict[str, ColumnProfile] = {}
    for unit in units:
        for name, column in unit.items():
            merged[name] = _add(merged[name], column) if name in merged else column
    return merged


def _add(a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    if a.edges != b.edges:
        return a
    categories = dict(a.categories)
    for name, n in b.categories.items():
        categories[name] = categories.get(name, 0) + n
    return replace(
        a,
        rows=a.rows + b.rows,
        missing=a.missing + b.missing,
        counts=tuple(x + y for x, y in zip(a.counts, b.counts, strict=True)) if a.counts and b.counts else a.counts,
        categories=categories,
    )


def column_drifts(
    reference: dict[str, ColumnProfile], current: dict[str, ColumnProfile], limit: float
) -> tuple[ColumnDrift, ...]:
    """Compare column by column, furthest moved first."""
    found = [_compare(name, reference[name], now, limit) for name, now in current.items() if name in reference]
    return tuple(sorted(found, key=lambda column: -(column.psi if column.psi is not None else -1.0)))


def _compare(name: str, was: ColumnProfile, now: ColumnProfile, limit: float) -> ColumnDrift:
    bins, before, after = _aligned(was, now)
    return ColumnDrift(
        name=name,
        type=now.type,
        psi=_psi(before, after),
        limit=limit,
        missing_reference=was.missing / was.rows if was.rows else None,
        missing_now=now.missing / now.rows if now.rows else None,
        bins=bins,
        reference=before,
        current=after,
    )


def _aligned(was: ColumnProfile, now: ColumnProfile) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    if was.counts and len(was.counts) == len(now.counts) and was.edges == now.edges:
        lows = ["below", *(f"{edge:.4g}" for edge in was.edges)]
        return tuple(lows[: len(was.counts)]), was.counts, now.counts
    names = sorted({*was.categories, *now.categories}, key=lambda c: -was.categories.get(c, 0))
    kept, rest = names[:12], names[12:]
    before = [was.categories.get(c, 0) for c in kept]
    after = [now.categories.get(c, 0) for c in kept]
    if rest:
        before.append(sum(was.categories.get(c, 0) for c in rest))
        after.append(sum(now.categories.get(c, 0) for c in rest))
    return (*kept, "others")[: len(before)], tuple(before), tuple(after)


def _psi(before: Sequence[int], after: Sequence[int]) -> float | None:
    """Population stability index, half a row added to each bin so that an empty one stays finite."""
    n, m = sum(before), sum(after)
    if not n or not m:
        return None
    k = len(before)
    p = [(x + 0.5) / (n + 0.5 * k) for x in before]
    q = [(x + 0.5) / (m + 0.5 * k) for x in after]
    return math.fsum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
