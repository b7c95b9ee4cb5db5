"""`/runs/compare`: up to 100 runs side by side: curves, params, metrics, code, environment, datasets."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tournant.domain.tracking import DatasetInput, Run, RunStatus
from tournant.errors import NotFound
from tournant.ports import UnitOfWork
from tournant.services.run_environments import requirements_of
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.curves import MOST_RUNS, CurveChart, curve_charts, read_runs, split_ids
from tournant.web.pages.differences import Heading, Table, metric_table, text_table
from tournant.web.pages.formats import duration, plural
from tournant.web.pages.surroundings import GIT_COMMIT, Made, Surroundings, compare_surroundings

__all__ = ["PAGES", "RunComparisonPage", "mark_runs", "split_datasets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparisonPage(View):
    """Runs side by side; the first is the base that others are compared with."""

    runs: tuple[Run, ...] = ()
    columns: tuple[Heading, ...] = ()
    missing: tuple[str, ...] = ()
    charts: tuple[CurveChart, ...] = ()
    tables: tuple[Table, ...] = ()
    surroundings: Surroundings | None = None


def compare(ask: Ask) -> RunComparisonPage:
    """Compare runs."""
    ids = _ids(ask)
    runs = _base_first(read_runs(ask.uow, ids), ask.query.get("base", ""))
    missing = tuple(each for each in ids if each not in {run.id for run in runs})
    if ids and not runs:
        raise NotFound(f"There is no run {', '.join(missing[:5])}; choose some in the table of runs.")
    crumbs = (Crumb(text="Runs", href="/runs"), Crumb(text="Compare"))
    if not runs:
        return RunComparisonPage(title="Compare runs", crumbs=crumbs, command="tournant runs list", now=ask.now)
    tables = (
        metric_table("Metrics", [run.metrics for run in runs]),
        text_table("Params", [run.params for run in runs]),
        text_table("About", [_facts(run, ask.now) for run in runs]),
        text_table("Tags", [_tags(run) for run in runs]),
    )
    surroundings = compare_surroundings(ask.uow, ask.blobs, _made(ask.uow, runs))
    return RunComparisonPage(
        title=f"Compare {plural(len(runs), 'run')}",
        crumbs=crumbs,
        command=_command(runs),
        verdict=_verdict(runs, tables, surroundings, missing),
        now=ask.now,
        runs=runs,
        columns=tuple(Heading(name=run.name, href=f"/runs/{run.id}", line=i) for i, run in enumerate(runs)),
        missing=missing,
        charts=curve_charts(ask.uow, runs),
        tables=tables,
        surroundings=surroundings,
    )


def _ids(ask: Ask) -> tuple[str, ...]:
    left_out = set(ask.every("without"))
    return tuple(each for each in split_ids(ask.every("ids")) if each not in left_out)


def _base_first(runs: tuple[Run, ...], base: str) -> tuple[Run, ...]:
    return tuple(sorted(runs, key=lambda run: run.id != base)) if base else runs


def _facts(run: Run, now: float) -> dict[str, str]:
    took = (run.ended_at or (now if run.status is RunStatus.RUNNING else None), run.started_at)
    facts = {
        "Status": run.status.value,
        "Experiment": run.experiment,
        "Duration": duration(took[0] - took[1]) if took[0] is not None else "",
        "By": run.actor,
        "Error": run.error,
    }
    return {name: text for name, text in facts.items() if text}


def _tags(run: Run) -> dict[str, str]:
    return {key: value for key, value in run.tags.items() if not key.startswith("mlflow.")}


def _made(uow: UnitOfWork, runs: Sequence[Run]) -> list[Made]:
    inputs: dict[str, dict[str, str]] = {run.id: {} for run in runs}
    for found in uow.find(DatasetInput, run__in=list(inputs), order="run,name,digest"):
        name = f"{found.name} ({found.context})" if found.context else found.name
        inputs[found.run][name] = ", ".join(filter(None, (inputs[found.run].get(name), found.digest)))
    requirements = requirements_of(uow, [run for run in runs if not run.environment])
    return [
        Made(
            name=run.name,
            code=run.code,
            commit=run.commit or run.tags.get(GIT_COMMIT, ""),
            environment=run.environment or requirements.get(run.id, ""),
            datasets={**split_datasets(run.datasets), **inputs[run.id]},
        )
        for run in runs
    ]


def split_datasets(datasets: Sequence[str]) -> dict[str, str]:
    """Give the versions of dataset version ids by the dataset's name."""
    found: dict[str, str] = {}
    for each in datasets:
        name = each.partition("@")[0]
        found[name] = ", ".join(filter(None, (found.get(name), each)))
    return found


def _command(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return f"tournant runs show {runs[0].id}"
    return "tournant runs diff " + " ".join(run.id for run in runs)


def _verdict(
    runs: Sequence[Run], tables: Sequence[Table], surroundings: Surroundings, missing: Sequence[str]
) -> Verdict:
    metrics, params = tables[0], tables[1]
    note = f"Not found any more: {', '.join(missing)}." if missing else ""
    if len(runs) == 1:
        return Verdict(tone="idle", head=f"{runs[0].name} stands alone.", text="Tick more in the table.", note=note)
    parts = [
        f"{plural(len(params.differing), 'param')} of {len(params.differing) + len(params.same)}",
        f"{plural(len(metrics.differing), 'metric')} of {len(metrics.differing) + len(metrics.same)}",
    ]
    changed = {row.name.lower() for row in surroundings.sources.differing}
    changed |= {"data"} if surroundings.datasets.differing else set()
    also = f" Also different: {', '.join(sorted(changed))}." if changed else " Code, environment and data are the same."
    running = sum(run.status is RunStatus.RUNNING for run in runs)
    return Verdict(
        tone="prog" if running else "idle",
        head=f"{len(runs)} runs differ in {' and '.join(parts)}.",
        text=f"{runs[0].name} is the base.{also}",
        note=" ".join(filter(None, (f"{plural(running, 'run')} still going on." if running else "", note))),
    )


def mark_runs(runs: Sequence[Run]) -> str:
    """Give a word that changes when one of the runs logs something."""
    state = repr([(r.status, r.measured, r.metrics, r.params, r.tags, r.ended_at) for r in runs])
    return hashlib.blake2b(state.encode(), digest_size=6).hexdigest()


def _mark(ask: Ask) -> str:
    return mark_runs(read_runs(ask.uow, _ids(ask)[:MOST_RUNS]))


PAGES = (
    Page(path="/runs/compare", template="run_comparison.html", section="runs", view=compare, charts=True, mark=_mark),
)
