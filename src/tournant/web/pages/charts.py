"""Chart data: series over one time axis with a limit and flags, drawn by static/charts.js and readable as a table."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tournant.domain.deployment import Deployment
from tournant.domain.predictions import Traffic
from tournant.domain.rollout import Phase, Rollout, RolloutDecision
from tournant.web.pages.quality import Unit
from tournant.web.pages.traffic import Served, served, split_buckets

__all__ = ["Chart", "Flag", "Series", "latency_chart", "loss_chart", "rollout_flags", "step_flags", "traffic_chart"]

Measure = Callable[[Served], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line. `role` (stable, canary, shadow, estimate) gives its look; gaps are None."""

    label: str
    role: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A vertical line with a word."""

    time: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over `times` (epoch seconds). Values beyond `limit` are on its bad side; `zero`: the axis starts at 0."""

    id: str
    title: str
    unit: str
    times: tuple[float, ...]
    series: tuple[Series, ...]
    limit: float | None = None
    limit_label: str = ""
    worse: str = "above"
    flags: tuple[Flag, ...] = ()
    zero: bool = False
    note: str = ""
    pending: float | None = field(default=None)  # from here on labels are still to come

    @property
    def known(self) -> bool:
        """Whether there is anything to draw."""
        return any(value is not None for line in self.series for value in line.values)


def latency_chart(
    deployment: Deployment, rows: Sequence[Traffic], start: float, end: float, names: dict[str, str]
) -> Chart:
    """Chart the 99th percentile of latency of each revision and role against the SLO."""
    return _traffic_chart(
        "latency", "Latency p99, ms", rows, (start, end), names, lambda s: s.p99_ms, limit=deployment.config.slo_p99_ms
    )


def traffic_chart(rows: Sequence[Traffic], start: float, end: float, names: dict[str, str]) -> Chart:
    """Chart answered requests an hour."""
    return _traffic_chart("traffic", "Requests an hour", rows, (start, end), names, lambda s: s.per_second, zero=True)


def _traffic_chart(
    chart_id: str,
    title: str,
    rows: Sequence[Traffic],
    span: tuple[float, float],
    names: dict[str, str],
    measure: Measure,
    *,
    limit: float | None = None,
    zero: bool = False,
) -> Chart:
    width, buckets = split_buckets(rows, *span)
    first = span[0] - span[0] % width
    lines: dict[tuple[str, str], list[float | None]] = {}
    keys = sorted({(row.role, row.revision) for bucket in buckets for row in bucket}, key=_line_order)
    for role, revision in keys:
        sums = [
            served((r for r in bucket if (r.role, r.revision) == (role, revision)), width / 3600) for bucket in buckets
        ]
        lines[role, revision] = [measure(s) if s.requests else None for s in sums]
    return Chart(
        id=chart_id,
        title=title,
        unit="ms" if limit else "",
        times=tuple(first + i * width for i in range(len(buckets))),
        series=tuple(_series(key, values, names) for key, values in lines.items()),
        limit=limit,
        limit_label=f"limit {limit:g}" if limit else "",
        zero=zero,
    )


def _line_order(key: tuple[str, str]) -> tuple[int, str]:
    return {"stable": 0, "canary": 1}.get(key[0], 2), key[1]


def _series(key: tuple[str, str], values: Iterable[float | None], names: dict[str, str]) -> Series:
    role, revision = key
    name = names.get(revision, revision)
    return Series(
        label=f"{name} {role}", role=role, values=tuple(round(v, 4) if v is not None else None for v in values)
    )


def loss_chart(
    units: Sequence[Unit],
    roles: dict[str, str],
    names: dict[str, str],
    *,
    metric: str,
    limit: float | None,
    flags: Sequence[Flag] = (),
) -> Chart:
    """Chart each revision's mean loss by unit of evidence; `roles` says which revision is stable, canary, shadow."""
    times = tuple(sorted({unit.start for unit in units}))
    loss = {(unit.start, unit.revision): unit.loss for unit in units}
    found = sorted(
        {unit.revision for unit in units if unit.loss is not None}, key=lambda r: _line_order((roles.get(r, ""), r))
    )
    return Chart(
        id="loss",
        title=f"Realised {metric.replace('_', ' ')}",
        unit="loss",
        times=times,
        series=tuple(_series((roles.get(r, "past"), r), [loss.get((t, r)) for t in times], names) for r in found),
        limit=limit,
        limit_label=f"limit {limit:.3f}" if limit is not None else "",
        flags=tuple(flags),
    )


def step_flags(decisions: Sequence[RolloutDecision]) -> tuple[Flag, ...]:
    """Flag each time the canary's weight changed, and the end."""
    flags = []
    for decision in decisions:
        if decision.action == "advance" and decision.phase is Phase.CANARY:
            flags.append(Flag(time=decision.time, text=f"{decision.weight_percent:g} %"))
        elif decision.action == "advance" and decision.phase is Phase.SHADOW:
            flags.append(Flag(time=decision.time, text="shadow"))
        elif decision.phase.final:
            flags.append(
                Flag(time=decision.time, text="released" if decision.phase is Phase.PROMOTED else "rolled back")
            )
    return tuple(flags)


def rollout_flags(rollouts: Sequence[Rollout], start: float) -> tuple[Flag, ...]:
    """Flag releases and rollbacks."""
    ended = [(r.ended_at, r) for r in rollouts if r.ended_at is not None and r.ended_at >= start]
    return tuple(
        Flag(time=time, text=f"◆ {r.revision}" if r.phase is Phase.PROMOTED else f"▼ {r.revision}")
        for time, r in sorted(ended, key=lambda pair: pair[0])
    )
