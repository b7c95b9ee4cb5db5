"""The plots that runs have made, read back from the content store."""

from collections.abc import Sequence

from tournant.domain.pipeline import Project
from tournant.domain.plots import Curves, read_curves
from tournant.domain.tracking import Run, StepRun
from tournant.errors import Invalid, NotFound
from tournant.services.context import Context
from tournant.services.tracking import find_runs, get_run

__all__ = ["find_run", "read_plots"]

_NEWEST = 1000


def find_run(ctx: Context, name: str, *, experiment: str | None = None) -> Run:
    """Give a run by id, its last digits or its name; `last` is the newest of an experiment, `last~1` the one before."""
    if len(name) == 32:
        return get_run(ctx, name)
    found_runs = find_runs(ctx, experiment=experiment, limit=_NEWEST)
    runs = sorted(
        found_runs, key=lambda run: (run.started_at, run.id), reverse=True
    )  # ids tell which of one instant is newer
    head, _, back = name.partition("~")
    if head == "last":
        steps = int(back) if back.isdigit() else 0
        if steps >= len(runs):
            raise NotFound(f"there are only {len(runs)} runs" + (f" of {experiment}" if experiment else ""))
        return runs[steps]
    found = [run for run in runs if run.name == name or run.id.endswith(name)]
    if len(found) != 1:
        what = "there is no run" if not found else f"{len(found)} runs are"
        raise NotFound(f"{what} {name!r}; list them: tournant runs list")
    return found[0]


def read_plots(ctx: Context, project: Project, runs: Sequence[Run]) -> dict[str, dict[str, Curves]]:
    """Give the project's plots as runs have made them: path to run's name to curves; runs without a plot are left out."""
    paths = [path for step in project.steps for path in step.plots]
    found: dict[str, dict[str, Curves]] = {path: {} for path in paths}
    for run in runs:
        with ctx.transactions.begin(write=False) as uow:
            outs = {path: digest for step in uow.find(StepRun, run=run.id) for path, digest in step.outs.items()}
        for path in paths:
            if path in outs:
                found[path][run.name] = _read(ctx, path, outs[path])
    return {path: curves for path, curves in found.items() if curves}


def _read(ctx: Context, path: str, digest: str) -> Curves:
    (file,) = ctx.blobs.tree(digest).files.values()
    try:
        return read_curves(ctx.blobs.path(file.digest).read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as exc:
        raise Invalid(f"the plot {path!r} is no table of numbers in CSV or JSON: {exc}", place=path) from exc
