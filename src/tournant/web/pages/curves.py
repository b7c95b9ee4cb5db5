"""Metric curves: `/runs/curves` gives the histories of some runs, thinned to what a chart can show; static/curves.js draws them."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tournant.domain.run_query import All, Comparison, Entity, HistoryQuery, RunQuery, View
from tournant.domain.tracking import Metric, Run
from tournant.errors import Invalid
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.web.pages.rendering import Renderer

__all__ = [
    "MOST_CHARTS",
    "MOST_RUNS",
    "CurveChart",
    "curve_charts",
    "curve_routes",
    "read_curves",
    "read_runs",
    "split_ids",
]

MOST_RUNS = 100
MOST_KEYS = 12  # of one request
MOST_CHARTS = 60
LONGEST_CURVE = 600  # points of one run
MOST_POINTS = 24_000  # of all runs in a chart
READ_FOR_ONE = 4  # points read for each that is drawn, of which the lowest and highest are kept
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveChart:
    """A chart of one metric: `mark` changes when any of its runs has logged more."""

    id: str
    key: str
    mark: str
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A run's history of a metric. `times` are seconds since the run began; NaN and infinities are None."""

    run: str
    name: str
    steps: tuple[int, ...]
    times: tuple[float, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The curves of each key."""

    curves: dict[str, tuple[Curve, ...]]


def split_ids(given: Sequence[str]) -> tuple[str, ...]:
    """Read the ids of an address: `ids=a,b`, `ids=a&ids=b`, or both; each once."""
    ids = tuple(dict.fromkeys(part for text in given for part in text.replace(" ", ",").split(",") if part))
    if any("\0" in each for each in ids):
        raise Invalid("an id has no NUL character", place="ids")
    return ids


def read_runs(uow: UnitOfWork, ids: Sequence[str]) -> tuple[Run, ...]:
    """Read those of the runs that there are, in the order asked for; Invalid when they are too many."""
    if len(ids) > MOST_RUNS:
        raise Invalid(f"{len(ids)} runs are too many to compare; name at most {MOST_RUNS}", place="ids")
    if not ids:
        return ()
    named = Comparison(entity=Entity.ATTRIBUTE, key="run_id", operator="IN", value=tuple(ids))
    found = uow.runs.find(RunQuery(condition=All((named,)), view=View.ALL, limit=MOST_RUNS))
    runs = {run.id: run for run in found}
    return tuple(runs[each] for each in ids if each in runs)


def curve_charts(uow: UnitOfWork, runs: Sequence[Run]) -> tuple[CurveChart, ...]:
    """Give a chart for each metric of which some run has several points; what machines report of themselves comes last."""
    keys = {key for run in runs for key in run.measured}
    ordered = sorted(keys, key=lambda key: (key.startswith("system/"), key))
    having = {key: [run for run in runs if key in run.measured] for key in ordered}
    drawn = [key for key in ordered if _is_curve(uow, key, having[key])][:MOST_CHARTS]
    return tuple(
        CurveChart(
            id=f"metric-{i}",
            key=key,
            mark=f"{sum(run.measured[key][0] for run in having[key])}.{sum(run.measured[key][1] for run in having[key]):.3f}",
            runs=tuple(run.id for run in having[key]),
        )
        for i, key in enumerate(drawn)
    )


def _is_curve(uow: UnitOfWork, key: str, runs: Sequence[Run]) -> bool:
    """Tell whether some run has several points: it is at a later step than 0, or there are more points than runs."""
    if any(run.measured[key][0] for run in runs):
        return True
    points = uow.runs.history(HistoryQuery(runs=tuple(run.id for run in runs), key=key, limit=len(runs) + 1))
    return len(points) > len(runs)


def read_curves(uow: UnitOfWork, ids: Sequence[str], keys: Sequence[str]) -> Curves:
    """Read and thin the histories of metrics."""
    if not 1 <= len(keys) <= MOST_KEYS or any("\0" in key for key in keys):
        raise Invalid(f"name 1 to {MOST_KEYS} metrics as key=…", place="key")
    runs = read_runs(uow, ids)
    length = min(LONGEST_CURVE, MOST_POINTS // max(1, len(runs)))
    curves = {}
    for key in keys:
        query = HistoryQuery(runs=tuple(run.id for run in runs), key=key, samples=READ_FOR_ONE * length)
        points: dict[str, list[Metric]] = {}
        for point in uow.runs.history(query):
            points.setdefault(point.run, []).append(point)
        curves[key] = tuple(_curve(run, points[run.id], length) for run in runs if run.id in points)
    return Curves(curves=curves)


def _curve(run: Run, points: Sequence[Metric], length: int) -> Curve:
    kept = thin(sorted(points, key=lambda m: (m.step, m.time)), length)
    return Curve(
        run=run.id,
        name=run.name,
        steps=tuple(m.step for m in kept),
        times=tuple(round(m.time - run.started_at, 3) for m in kept),
        values=tuple(float(f"{m.value:.6g}") if math.isfinite(m.value) else None for m in kept),
    )


def thin(points: Sequence[Metric], length: int) -> list[Metric]:
    """Keep each bucket's lowest and highest point, and the first and last of all, when there are more than `length`."""
    if len(points) <= length:
        return list(points)
    size = -(-2 * len(points) // length)
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        bucket = [i for i in range(start, min(start + size, len(points))) if math.isfinite(points[i].value)]
        if bucket:
            kept |= {min(bucket, key=lambda i: points[i].value), max(bucket, key=lambda i: points[i].value)}
        else:
            kept.add(start)  # a gap stays one
    return [points[i] for i in sorted(kept)]


def curve_routes(ctx: Context, renderer: Renderer, guarded: Callable[[Handler], Handler]) -> list[Route]:
    """Give the address that charts ask."""

    async def curves(request: Request) -> Response:
        ids, keys = split_ids(request.query_params.getlist("ids")), request.query_params.getlist("key")

        def read() -> Curves:
            with ctx.transactions.begin(write=False) as uow:
                return read_curves(uow, ids, keys)

        return renderer.json(request, await run_in_threadpool(read))

    return [Route("/runs/curves.json", guarded(curves))]
