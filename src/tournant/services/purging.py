"""Freeing what was deleted: runs, experiments and logged models go for good once nobody can want them back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from tournant.domain.logged_models import Artifact, LoggedModel, ModelMetric
from tournant.domain.machine import StepMachine
from tournant.domain.registry import ModelVersion
from tournant.domain.run_query import RunQuery, View
from tournant.domain.tracking import DatasetInput, Experiment, Run, RunModel, StepRun
from tournant.ports import UnitOfWork
from tournant.services.artifacts import artifact_path, remove_artifacts
from tournant.services.context import CoreContext
from tournant.services.lookup import LARGEST_PAGE

__all__ = ["Purge", "plan_purge", "purge"]

_DEFAULT = 0  # the number of the experiment that is always there
_TOGETHER = 100  # runs in a transaction: others write between two


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """What goes for good: ids of runs and logged models, numbers of experiments; `kept` says why something deleted stays."""

    runs: tuple[str, ...] = ()
    experiments: tuple[int, ...] = ()
    logged_models: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    places: frozenset[str] = field(default=frozenset(), repr=False)  # folders of artifacts that go with them

    def takes(self, record: object) -> bool:
        """Whether a record goes with it."""
        if isinstance(record, Run):
            return record.id in self.runs
        if isinstance(record, StepRun):
            return record.run in self.runs
        if isinstance(record, LoggedModel):
            return record.id in self.logged_models
        if isinstance(record, Artifact):
            parts = record.path.split("/")
            return any("/".join(parts[:length]) in self.places for length in range(1, len(parts) + 1))
        return False


def plan_purge(ctx: CoreContext, *, older_than_seconds: float) -> Purge:
    """Tell what was deleted so long ago that it may go. A run that a model version was made by stays: it is its record."""
    until = ctx.clock.now() - older_than_seconds
    deleted = list(_deleted_runs(ctx))
    runs = [run for run in deleted if run.deleted_at is not None and run.deleted_at <= until]
    with ctx.transactions.begin(write=False) as uow:
        made = _versions_of(uow, [run.id for run in runs])
        experiments = [
            found
            for found in uow.find(Experiment, order="number")
            if found.number != _DEFAULT and found.deleted_at is not None and found.deleted_at <= until
        ]
        models = [m for m in uow.find(LoggedModel) if m.deleted_at is not None and m.deleted_at <= until]
        numbers = [found.number for found in experiments]
        models += [m for m in (uow.find(LoggedModel, experiment__in=numbers) if numbers else []) if m not in models]
        registered = uow.find(ModelVersion, logged_model__in=[model.id for model in models]) if models else []
    models = [model for model in models if model.id not in {version.logged_model for version in registered}]
    going = {run.id: run for run in runs if run.id not in made}
    occupied = {run.experiment_number for run in deleted if run.id not in going}
    kept = [f"run {run.name} ({run.id}) made {made[run.id]}" for run in runs if run.id in made]
    kept += [f"logged model {version.logged_model} is {version.id}" for version in registered]
    kept += [f"experiment {e.name} has runs that stay" for e in experiments if e.number in occupied]
    locations = [*(run.artifact_location for run in going.values()), *(model.artifact_location for model in models)]
    return Purge(
        runs=tuple(going),
        experiments=tuple(e.number for e in experiments if e.number not in occupied),
        logged_models=tuple(model.id for model in models),
        kept=tuple(kept),
        places=frozenset(filter(None, map(artifact_path, filter(None, locations)))),
    )


def purge(ctx: CoreContext, plan: Purge) -> int:
    """Remove what a plan names, unless it was restored meanwhile; give how many artifacts went. Their content is collected as garbage."""
    files = 0
    for start in range(0, len(plan.runs), _TOGETHER):
        with ctx.transactions.begin() as uow:
            for run_id in plan.runs[start : start + _TOGETHER]:
                files += _purge_run(ctx, uow, run_id)
    for model_id in plan.logged_models:
        with ctx.transactions.begin() as uow:
            model = uow.get(LoggedModel, model_id, lock=True)
            if model and (model.deleted_at is not None or model.experiment in plan.experiments):
                files += remove_artifacts(uow, artifact_path(model.artifact_location))
                uow.remove(ModelMetric, model=model_id)
                uow.remove(LoggedModel, id=model_id)
                uow.record(
                    ctx.event("logged_model.purged", f"logged_model/{model_id}", f"{model.name} is gone for good")
                )
    for number in plan.experiments:
        with ctx.transactions.begin() as uow:
            found = uow.get(Experiment, number, lock=True)
            left = uow.runs.find(RunQuery(experiments=(number,), view=View.ALL, limit=1))
            if found and found.deleted_at is not None and not left:
                uow.remove(Experiment, number=number)
                uow.record(
                    ctx.event("experiment.purged", f"experiment/{number}", f"experiment {found.name} is gone for good")
                )
    return files


def _purge_run(ctx: CoreContext, uow: UnitOfWork, run_id: str) -> int:
    run = uow.runs.get(run_id, lock=True)
    if run is None or run.deleted_at is None:
        return 0
    place = artifact_path(run.artifact_location) if run.artifact_location else ""
    files = remove_artifacts(uow, place) if place else 0
    for kind in (StepRun, StepMachine, DatasetInput, RunModel):
        uow.remove(kind, run=run_id)
    uow.runs.remove([run_id])
    uow.record(ctx.event("run.purged", f"run/{run_id}", f"{run.name} is gone for good"))
    return files


def _versions_of(uow: UnitOfWork, run_ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(run_ids), LARGEST_PAGE):
        for version in uow.find(ModelVersion, run__in=list(run_ids[start : start + LARGEST_PAGE]), order="number"):
            found.setdefault(version.run, version.id)
    return found


def _deleted_runs(ctx: CoreContext) -> Iterator[Run]:
    for offset in count(0, LARGEST_PAGE):
        with ctx.transactions.begin(write=False) as uow:
            page = uow.runs.find(RunQuery(view=View.DELETED, limit=LARGEST_PAGE, offset=offset))
        yield from page
        if len(page) < LARGEST_PAGE:
            return
