"""The geometry of the small server-rendered SVG marks: strips, sparklines, intervals, histograms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Cell", "Histogram", "IntervalMark", "Sparkline", "histogram", "interval_mark", "sparkline", "strip"]

STRIP_WIDTH = 231.0
HEIGHTS = {"none": 3.0, "ok": 8.0, "warn": 11.0, "crit": 13.0}  # severity is height too, never colour alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One bar of a strip of 20 units height."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    title: str


def strip(tones: Sequence[tuple[str, str]], width: float = STRIP_WIDTH) -> tuple[Cell, ...]:
    """Place bars for (tone, title) pairs side by side."""
    step = width / max(1, len(tones))
    return tuple(
        Cell(
            x=round(i * step, 1),
            y=20 - HEIGHTS[tone],
            width=round(step - 1, 1),
            height=HEIGHTS[tone],
            tone=tone,
            title=title,
        )
        for i, (tone, title) in enumerate(tones)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparkline:
    """Points of a trend in a box of 96 by 24, broken where there is no value, and the y of its limit."""

    lines: tuple[str, ...]
    end: tuple[float, float] | None
    limit: float | None


def sparkline(values: Sequence[float | None], limit: float | None, size: tuple[float, float] = (96, 24)) -> Sparkline:
    """Scale a series and its limit into the box."""
    known = [v for v in (*values, limit) if v is not None and math.isfinite(v)]
    if not [v for v in values if v is not None]:
        return Sparkline(lines=(), end=None, limit=None)
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    width, height = size

    def y(value: float) -> float:
        return round(2 + (height - 4) * (high - value) / span, 1)

    step = (width - 4) / max(1, len(values) - 1)
    points = [None if v is None else (round(i * step, 1), y(v)) for i, v in enumerate(values)]
    ends = [point for point in points if point]
    return Sparkline(lines=_lines(points), end=ends[-1], limit=None if limit is None else y(limit))


def _lines(points: Sequence[tuple[float, float] | None]) -> tuple[str, ...]:
    lines: list[list[str]] = [[]]
    for point in points:
        if point is None:
            lines.append([])
        else:
            lines[-1].append(f"{point[0]},{point[1]}")
    return tuple(" ".join(line) for line in lines if len(line) > 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalMark:
    """An interval against zero and its limit in a box of 190 by 22; `cut` says that an end lies outside."""

    zero: float
    limit: float | None
    low: float | None
    high: float | None
    middle: float | None
    cut_low: bool = False
    cut_high: bool = False


def interval_mark(
    difference: float | None, lower: float | None, upper: float | None, limit: float | None, width: float = 190
) -> IntervalMark:
    """Scale an interval so that zero, estimate and limit are always seen, and a very wide interval is cut off."""
    anchors = [v for v in (0.0, difference, limit) if v is not None and math.isfinite(v)]
    reach = 3 * (max(anchors) - min(anchors)) or 1.0
    ends = [_finite(lower), _finite(upper)]
    low = min([*anchors, *(max(v, min(anchors) - reach) for v in ends if v is not None)])
    high = max([*anchors, *(min(v, max(anchors) + reach) for v in ends if v is not None)])
    pad = 0.12 * ((high - low) or 1.0)
    low, high = low - pad, high + pad

    def x(value: float) -> float:
        return round(min(width, max(0.0, width * (value - low) / (high - low))), 1)

    known = difference is not None
    return IntervalMark(
        zero=x(0.0),
        limit=None if limit is None else x(limit),
        low=x(lower if lower is not None else -math.inf) if known else None,
        high=x(upper if upper is not None else math.inf) if known else None,
        middle=x(difference) if difference is not None and math.isfinite(difference) else None,
        cut_low=known and (lower is None or lower < low),
        cut_high=known and (upper is None or upper > high),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Bars (x, width, y of reference, y of now) in a box of 120 by 26; heights are shares."""

    bars: tuple[tuple[float, float, float, float], ...]


def histogram(reference: Sequence[float], current: Sequence[float], size: tuple[float, float] = (120, 26)) -> Histogram:
    """Scale two distributions over the same bins."""
    width, height = size
    reference_total, current_total = sum(reference) or 1.0, sum(current) or 1.0
    pairs = [(r / reference_total, c / current_total) for r, c in zip(reference, current, strict=True)]
    top = max((max(pair) for pair in pairs), default=1.0) or 1.0
    step = width / max(1, len(pairs))
    return Histogram(
        bars=tuple(
            (
                round(i * step, 1),
                round(step * 0.86, 1),
                round(height * (1 - r / top), 1),
                round(height * (1 - c / top), 1),
            )
            for i, (r, c) in enumerate(pairs)
        )
    )
