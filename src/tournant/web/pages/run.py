"""`/runs/{id}`: one run."""

from collections.abc import Sequence
from dataclasses import dataclass

from tournant.domain.registry import ModelVersion
from tournant.domain.run_query import HistoryQuery
from tournant.domain.tracking import Metric, Run, RunStatus, StepRun
from tournant.errors import NotFound
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.charts import Chart, Series
from tournant.web.pages.formats import duration, headline

__all__ = ["PAGES", "RunPage"]

LONGEST_HISTORY = 600
MOST_POINTS = 4_000  # read of a history, of which LONGEST_HISTORY are drawn
MOST_CHARTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage(View):
    """One run: params, metrics with history, steps with logs."""

    run: Run
    steps: tuple[StepRun, ...]
    versions: tuple[ModelVersion, ...]
    charts: tuple[Chart, ...]


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


PAGES = (Page(path="/runs/{id}", template="run.html", section="runs", view=show_run, charts=True),)
