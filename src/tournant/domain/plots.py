"""Plots of runs: rows of numbers read from CSV or JSON, drawn over each other as SVG in one page that needs nothing else."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Curves", "draw_page", "read_curves"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 560, 280, 58, 34, 12
_COLOURS = ("#1570ef", "#e04f16", "#099250", "#9e77ed", "#667085", "#dd2590")
_MOST_POINTS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Numbers over numbers: the first column of a table, and the others by name."""

    x_name: str
    x: tuple[float, ...]
    series: dict[str, tuple[float, ...]]


def read_curves(text: str) -> Curves:
    r"""Read a CSV table with a head, or a JSON list of objects; the first column is x, others that hold no numbers are left out.

    >>> read_curves("epoch,loss\n1,0.5\n2,0.4\n")
    Curves(x_name='epoch', x=(1.0, 2.0), series={'loss': (0.5, 0.4)})
    """
    rows: Sequence[Mapping[str, object]]
    if text.lstrip()[:1] == "[":
        rows = [row for row in json.loads(text) if isinstance(row, dict)]
    else:
        rows = list(csv.DictReader(io.StringIO(text)))
    names = list(rows[0]) if rows else []
    columns = {name: tuple(_number(row.get(name)) for row in rows) for name in names}
    numeric = {name: values for name, values in columns.items() if any(map(math.isfinite, values))}
    if not names or not numeric:
        raise ValueError("it has no column of numbers")
    x_name = names[0]
    x = numeric.pop(x_name, None) or tuple(float(index) for index in range(len(rows)))
    return Curves(x_name=x_name, x=x, series=numeric)


def draw_page(plots: Mapping[str, Mapping[str, Curves]]) -> str:
    """Draw each plot (path to run's name to curves): one chart for each of its columns, the runs over each other."""
    parts = []
    for path, runs in plots.items():
        names = dict.fromkeys(name for curves in runs.values() for name in curves.series)
        charts = [
            _chart(name, {run: curves for run, curves in runs.items() if name in curves.series}) for name in names
        ]
        parts.append(f"<h2>{escape(path)}</h2><div class=charts>{''.join(charts)}</div>")
    style = (
        "body{font:14px system-ui,sans-serif;margin:24px;color:#1d2939}h2{font-size:16px;margin:24px 0 8px}"
        ".charts{display:flex;flex-wrap:wrap;gap:16px}figure{margin:0}figcaption{font-weight:600;margin-bottom:4px}"
        ".key span{margin-right:14px;white-space:nowrap}.key i{display:inline-block;width:14px;height:3px;margin:0 5px 4px 0}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Plots</title><style>{style}</style>'
        f"<h1>Plots</h1>{''.join(parts) or '<p>No plots.</p>'}</html>\n"
    )


def _chart(name: str, runs: Mapping[str, Curves]) -> str:
    points = {run: _points(curves, name) for run, curves in runs.items()}
    every = [point for line in points.values() for point in line] or [(0.0, 0.0)]
    (x0, x1), (y0, y1) = (_range([point[axis] for point in every]) for axis in (0, 1))

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - x0) / (x1 - x0) * (_WIDTH - _LEFT - 12)
        return f"{across:.1f},{_TOP + (y1 - y) / (y1 - y0) * (_HEIGHT - _TOP - _BOTTOM):.1f}"

    lines, key = [], []
    for index, (run, line) in enumerate(points.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        path = " ".join(place(x, y) for x, y in line)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        key.append(f'<span><i style="background:{colour}"></i>{escape(run)}</span>')
    base = _HEIGHT - _BOTTOM
    axes = (
        f'<path d="M{_LEFT} {_TOP}V{base}H{_WIDTH - 12}" fill="none" stroke="#98a2b3"/>'
        f'<g fill="#667085" font-size="11"><text x="{_LEFT - 6}" y="{_TOP + 9}" text-anchor="end">{y1:.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">{y0:.4g}</text><text x="{_LEFT}" y="{base + 16}">{x0:.4g}</text>'
        f'<text x="{_WIDTH - 12}" y="{base + 16}" text-anchor="end">{x1:.4g}</text>'
        f'<text x="{(_LEFT + _WIDTH) / 2:g}" y="{base + 16}" text-anchor="middle">{escape(next(iter(runs.values())).x_name)}</text></g>'
    )
    return (
        f'<figure><figcaption>{escape(name)}</figcaption><svg width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(name)}">{axes}{"".join(lines)}</svg><div class=key>{"".join(key)}</div></figure>'
    )


def _points(curves: Curves, name: str) -> list[tuple[float, float]]:
    pairs = zip(curves.x, curves.series[name], strict=True)
    found = [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]
    return found[:: max(1, len(found) // _MOST_POINTS)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _number(value: object) -> float:
    try:
        return float(str(value)) if not isinstance(value, bool) else float(value)
    except ValueError:
        return math.nan
