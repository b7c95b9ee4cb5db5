"""`report.html`: a year of a deployment in one self-contained page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jinja2

from tournant.domain.alerts import Alert
from tournant.domain.comparison import PeriodComparison
from tournant.domain.control import Event
from tournant.domain.retraining import Retraining
from tournant.domain.rollout import Rollout

__all__ = ["ReplayFigures", "Report", "write_report"]

WIDTH, HEIGHT, LEFT, TOP = 760, 180, 44, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFigures:
    """What the replaying client saw. Times in seconds of real time, latencies in milliseconds."""

    requests: int
    failed: int
    over_budget: int
    slo_p99_ms: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    sending_seconds: float
    total_seconds: float
    days: int
    outages: int

    @property
    def requests_per_second(self) -> float:
        """Throughput while requests were being sent."""
        return self.requests / self.sending_seconds if self.sending_seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that the page shows."""

    deployment: str
    months: Sequence[PeriodComparison]
    year: PeriodComparison
    figures: ReplayFigures
    retrainings: Sequence[Retraining]
    rollouts: Sequence[Rollout]
    alerts: Sequence[Alert]
    events: Sequence[Event]
    notes: Sequence[str] = ()


def write_report(report: Report, target: Path) -> None:
    """Write the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tournant.sdk"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["when"] = _when
    environment.filters["signed"] = lambda value, digits=3: f"{value:+.{digits}f}".replace("-", "−")
    environment.filters["share"] = lambda value: f"{100 * value:.1f} %"
    page = environment.get_template("report.html").render(
        report=report, charts=_charts(report), rows=[*report.months, report.year]
    )
    target.write_text(page)


def _when(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%d %b %H:%M")


@dataclass(frozen=True, slots=True)
class Chart:
    """Two lines over the months, as SVG coordinates."""

    title: str
    live: str
    frozen: str
    ticks: tuple[tuple[float, str], ...]
    months: tuple[tuple[float, str], ...]


def _charts(report: Report) -> list[Chart]:
    months = report.months
    return [
        _chart("AUROC (higher is better)", months, [m.live_auroc for m in months], [m.frozen_auroc for m in months]),
        _chart(
            "Log loss (lower is better)", months, [m.live_log_loss for m in months], [m.frozen_log_loss for m in months]
        ),
    ]


def _chart(title: str, months: Sequence[PeriodComparison], live: list[float], frozen: list[float]) -> Chart:
    low, high = min(live + frozen), max(live + frozen)
    span = (high - low) or 1.0
    low, high = low - 0.08 * span, high + 0.08 * span

    def x(index: int) -> float:
        return LEFT + index * (WIDTH - LEFT - 16) / max(1, len(months) - 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - 2 * TOP - 16) * (high - value) / (high - low)

    def points(values: list[float]) -> str:
        return " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(values))

    ticks = tuple((round(y(v), 1), f"{v:.2f}") for v in (low + k * (high - low) / 4 for k in range(5)))
    names = tuple(
        (round(x(i), 1), datetime.strptime(m.period, "%Y-%m").replace(tzinfo=UTC).strftime("%b"))
        for i, m in enumerate(months)
    )
    return Chart(title, points(live), points(frozen), ticks, names)
