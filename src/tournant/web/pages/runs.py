"""`/runs` and one run."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from tournant.domain.filters import parse_filter, parse_order
from tournant.domain.registry import ModelVersion
from tournant.domain.run_query import All, Comparison, Condition, Entity, HistoryQuery, RunQuery
from tournant.domain.tracking import Experiment, Metric, Run, RunStatus, StepRun
from tournant.errors import Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.charts import Chart, Series
from tournant.web.pages.formats import duration, headline, stamp

__all__ = ["PAGES", "RunPage", "RunsPage"]

PAGE = 50
MOST_METRICS = 4
MOST_PARAMS = 4
LONGEST_HISTORY = 600
MOST_POINTS = 4_000  # read of a history, of which LONGEST_HISTORY are drawn
MOST_CHARTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsPage(View):
    """Runs, newest first; only the params that vary on this page."""

    runs: tuple[Run, ...]
    versions: dict[str, str]
    metrics: tuple[str, ...]
    params: tuple[str, ...]
    constant: dict[str, str]
    status: str
    experiment: str
    filter: str
    order: str
    filtered: bool
    older: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage(View):
    """One run: params, metrics with history, steps with logs."""

    run: Run
    steps: tuple[StepRun, ...]
    versions: tuple[ModelVersion, ...]
    charts: tuple[Chart, ...]


def list_runs(ask: Ask) -> RunsPage:
    """List runs, 50 a page, by keyset."""
    status, experiment = ask.query.get("status", ""), ask.query.get("experiment", "")
    if status and status not in tuple(RunStatus):
        raise Invalid(f"status must be one of {', '.join(RunStatus)}, not {status!r}", place="status")
    filter_, order = ask.query.get("filter", ""), ask.query.get("order", "")
    before, offset = ask.number("before"), int(ask.number("offset") or 0)
    found = ask.uow.runs.find(
        replace(
            _query(ask.uow, experiment, status, before, parse_filter(filter_)),
            order=(parse_order(order),) if order else (),
            offset=max(0, offset),
        )
    )
    runs = tuple(found[:PAGE])
    versions = ask.uow.find(ModelVersion, run__in=[run.id for run in runs]) if runs else []
    varying, constant = _params(runs)
    query = {"status": status, "experiment": experiment, "filter": filter_, "order": order}
    older = {key: value for key, value in query.items() if value}
    if order:  # which has no key to go on from
        older["offset"] = str(offset + PAGE)
    elif runs:
        older["before"] = repr(runs[-1].started_at)
    return RunsPage(
        title="Runs",
        crumbs=(Crumb(text="Runs"),),
        command="tournant runs list"
        + "".join(
            f" --{key} {shlex.quote(value)}" for key, value in older.items() if key in ("experiment", "filter", "order")
        ),
        verdict=_list_verdict(runs, ask.now) if runs else None,
        now=ask.now,
        runs=runs,
        versions={version.run: version.id for version in versions},
        metrics=tuple(dict.fromkeys(name for run in runs for name in run.metrics))[:MOST_METRICS],
        params=varying[:MOST_PARAMS],
        constant=constant,
        status=status,
        experiment=experiment,
        filter=filter_,
        order=order,
        filtered=bool(status or experiment or before or filter_),
        older="/runs?" + urlencode(older) if len(found) > PAGE else "",
    )


def _query(uow: UnitOfWork, experiment: str, status: str, before: float | None, condition: Condition) -> RunQuery:
    conditions = [condition]
    if status:
        conditions.append(Comparison(entity=Entity.ATTRIBUTE, key="status", operator="=", value=status))
    if before is not None:
        conditions.append(Comparison(entity=Entity.ATTRIBUTE, key="start_time", operator="<", value=1000 * before))
    numbers = tuple(e.number for e in uow.find(Experiment, name=experiment)) if experiment else None
    return RunQuery(experiments=numbers, condition=All(tuple(conditions)), limit=PAGE + 1)


def _params(runs: Sequence[Run]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Split params into those that vary over the runs and those that are the same in all."""
    names = dict.fromkeys(name for run in runs for name in run.params)
    values = {name: {run.params.get(name) for run in runs} for name in names}
    varying = tuple(name for name in names if len(values[name]) > 1)
    constant = {name: str(next(iter(values[name]))) for name in names if len(values[name]) == 1}
    return varying, constant


def _list_verdict(runs: Sequence[Run], now: float) -> Verdict:
    running = [run for run in runs if run.status is RunStatus.RUNNING]
    failed = [run for run in runs if run.status is RunStatus.FAILED]
    newest = max(runs, key=lambda run: run.started_at)
    text = f"The newest of them, {newest.name}, started {stamp(newest.started_at, now)} UTC and is {newest.status}."
    if running:
        return Verdict(
            tone="prog", head=f"{len(running)} running now, {len(failed)} of {len(runs)} shown failed.", text=text
        )
    tone = "crit" if newest.status is RunStatus.FAILED else "ok" if newest.status is RunStatus.SUCCESSFUL else "idle"
    return Verdict(tone=tone, head=f"{len(failed)} of the {len(runs)} runs shown failed.", text=text)


def show_run(ask: Ask) -> RunPage:
    """Show one run."""
    run = ask.uow.runs.get(ask.path["id"])
    if run is None:
        raise NotFound(f"There is no run {ask.path['id']!r}.")
    steps = tuple(ask.uow.find(StepRun, run=run.id, order="position"))
    versions = tuple(ask.uow.find(ModelVersion, run=run.id, order="number"))
    return RunPage(
        title=run.name,
        crumbs=(Crumb(text="Runs", href="/runs"), Crumb(text=run.name)),
        command=f"tournant runs show {run.id[:12]}",
        verdict=_verdict(run, steps, versions, ask.now),
        now=ask.now,
        run=run,
        steps=steps,
        versions=versions,
        charts=_charts(ask, run),
    )


def _verdict(run: Run, steps: Sequence[StepRun], versions: Sequence[ModelVersion], now: float) -> Verdict:
    took = duration((run.ended_at or now) - run.started_at)
    cached = sum(step.cached for step in steps)
    note = f"{cached} of {len(steps)} steps came from the cache." if steps else ""
    if run.status is RunStatus.RUNNING:
        doing = next((step.step for step in steps if step.status is RunStatus.RUNNING), "")
        head = f"Running for {took}" + (f", in step {doing}." if doing else ".")
        return Verdict(tone="prog", head=head, note=note)
    if run.status is RunStatus.SUCCESSFUL:
        made = f"It made {', '.join(v.id for v in versions)}." if versions else "It registered no model."
        return Verdict(tone="ok", head=f"Successful after {took}.", text=made, note=note)
    failed = next((step for step in steps if step.status is RunStatus.FAILED), None)
    where = f"Step {failed.step} ended with exit code {failed.exit_code}. " if failed else ""
    tone = "crit" if run.status is RunStatus.FAILED else "idle"
    return Verdict(tone=tone, head=f"{run.status.capitalize()} after {took}.", text=where + run.error, note=note)


def _charts(ask: Ask, run: Run) -> tuple[Chart, ...]:
    """Chart each metric that has a history, by step."""
    sampled = {
        key: ask.uow.runs.history(HistoryQuery(runs=(run.id,), key=key, samples=MOST_POINTS))
        for key in sorted(run.metrics)[:MOST_CHARTS]
    }
    long = {key: found for key, found in sampled.items() if len(found) > 1}
    return tuple(
        Chart(
            id=f"metric-{i}",
            title=headline(key),
            unit="step",
            times=tuple(float(m.step) for m in _thin(found)),
            series=(Series(label=key, role="canary", values=tuple(m.value for m in _thin(found))),),
        )
        for i, (key, found) in enumerate(long.items())
    )


def _thin(points: Sequence[Metric]) -> list[Metric]:
    """Keep each bucket's minimum and maximum when there are more points than a chart can show."""
    if len(points) <= LONGEST_HISTORY:
        return list(points)
    size = -(-2 * len(points) // LONGEST_HISTORY)
    kept: dict[int, Metric] = {}
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        for metric in (min(bucket, key=lambda m: m.value), max(bucket, key=lambda m: m.value)):
            kept[metric.step] = metric
    return [kept[step] for step in sorted(kept)]


PAGES = (
    Page(path="/runs", template="runs.html", section="runs", view=list_runs),
    Page(path="/runs/{id}", template="run.html", section="runs", view=show_run, charts=True),
)
