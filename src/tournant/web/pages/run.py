"""`/runs/{id}`: one run."""

from collections.abc import Sequence
from dataclasses import dataclass

from tournant.domain.registry import ModelVersion
from tournant.domain.tracking import Run, RunStatus, StepRun
from tournant.errors import NotFound
from tournant.services.run_files import Listing, list_run_files
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.curves import CurveChart, curve_charts
from tournant.web.pages.formats import duration
from tournant.web.pages.run_comparison import mark_runs

__all__ = ["PAGES", "RunPage"]

LISTED = 20  # files on the run's own page


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage(View):
    """One run: params, metrics with history, steps with logs."""

    run: Run
    steps: tuple[StepRun, ...]
    versions: tuple[ModelVersion, ...]
    charts: tuple[CurveChart, ...]
    artifacts: Listing


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
        charts=curve_charts(ask.uow, [run]),
        artifacts=list_run_files(ask.uow, ask.blobs, run, limit=LISTED),
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


def _mark(ask: Ask) -> str:
    """Change when the run logs something or has another artifact."""
    run = ask.uow.runs.get(ask.path["id"])
    if run is None:
        return ""
    return mark_runs([run]) + "".join(
        f".{file.path}" for file in list_run_files(ask.uow, ask.blobs, run, limit=LISTED).files
    )


PAGES = (Page(path="/runs/{id}", template="run.html", section="runs", view=show_run, charts=True, mark=_mark),)
