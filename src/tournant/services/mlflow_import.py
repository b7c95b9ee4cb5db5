"""Imports a store of MLflow's: whatever is there, once; what is new, when it is asked again."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tournant.errors import Conflict
from tournant.ports import MlflowSource, SourceExperiment, Unreadable
from tournant.services.context import Context
from tournant.services.mlflow_import_models import bring_logged_model, bring_model
from tournant.services.mlflow_import_report import Importing, MlflowImport
from tournant.services.mlflow_import_runs import bring_experiment, bring_run

__all__ = ["import_mlflow"]


def import_mlflow(
    ctx: Context, source: MlflowSource, *, progress: Callable[[MlflowImport], None] | None = None
) -> MlflowImport:
    """Bring in the experiments, runs, histories, files, models, versions and aliases of an MLflow store.

    Ids and version numbers stay; experiments are found by name. An import that was interrupted goes on where it stopped when
    it is done again, and one that was not brings what is new. What cannot be brought is named, with the reason. Conflict while
    another import is at work on this home.
    """
    work = Importing(ctx=ctx, source=source, report=MlflowImport(source=source.address), progress=progress)
    with _alone(ctx):
        seen: set[str] = set()
        for experiment in source.experiments():
            if isinstance(experiment, Unreadable):
                work.report.left.append(experiment)
                continue
            with work.skipping("experiment", f"{experiment.name} with its runs"):
                _bring_all_of(work, experiment, again=experiment.name in seen)
            seen.add(experiment.name)
        for model in source.models():
            if isinstance(model, Unreadable):
                work.report.left.append(model)
                continue
            with work.skipping("model", model.name):
                bring_model(work, model)
    return work.report


def _bring_all_of(work: Importing, given: SourceExperiment, *, again: bool) -> None:
    experiment = bring_experiment(work, given, again=again)
    for run in work.source.runs(given.id):
        if isinstance(run, Unreadable):
            work.report.left.append(run)
            continue
        with work.skipping("run", run.id):
            bring_run(work, experiment, run, with_experiment=given.deleted)
    for model in work.source.logged_models(given.id):
        if isinstance(model, Unreadable):
            work.report.left.append(model)
            continue
        with work.skipping("logged model", model.id):
            bring_logged_model(work, experiment, model)


@contextmanager
def _alone(ctx: Context) -> Iterator[None]:
    lock = ctx.settings.home / "imports" / "mlflow.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another import is at work on this home (it holds {lock}): wait for it to end") from None
        yield
