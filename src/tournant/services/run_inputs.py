"""What runs say they have read and made: datasets and logged models."""

from collections.abc import Sequence

from tournant.domain.tracking import DatasetInput, RunModel
from tournant.errors import Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.services.texts import check_key, check_texts

__all__ = ["InputsOfRuns", "log_run_inputs", "read_run_inputs"]

_LONGEST_DIGEST = 128
InputsOfRuns = tuple[dict[str, list[DatasetInput]], dict[str, list[RunModel]]]


def log_run_inputs(
    ctx: Context, run_id: str, *, datasets: Sequence[DatasetInput] = (), models: Sequence[RunModel] = ()
) -> None:
    """Add what a run has read or made; the same again replaces it."""
    for dataset in datasets:
        check_key(dataset.name, "dataset", longest=500)
        check_key(dataset.digest, "digest", longest=_LONGEST_DIGEST)
        check_texts({"context": dataset.context, **dataset.tags}, "tag")
        if "\0" in dataset.source + dataset.schema + dataset.profile:
            raise Invalid(f"dataset {dataset.name!r} is described with a NUL character, which no database keeps")
    for model in models:
        check_key(model.model, "logged model")
    with ctx.transactions.begin() as uow:
        _require_active(uow, run_id)
        uow.save(*{(each.name, each.digest): each for each in datasets}.values())
        uow.save(*{(each.model, each.role): each for each in models}.values())


def read_run_inputs(ctx: Context, run_ids: Sequence[str]) -> InputsOfRuns:
    """Read what runs have read and made, by run."""
    datasets: dict[str, list[DatasetInput]] = {}
    models: dict[str, list[RunModel]] = {}
    if run_ids:
        with ctx.transactions.begin(write=False) as uow:
            for dataset in uow.find(DatasetInput, run__in=run_ids, order="run,name,digest"):
                datasets.setdefault(dataset.run, []).append(dataset)
            for model in uow.find(RunModel, run__in=run_ids, order="run,role,step,model"):
                models.setdefault(model.run, []).append(model)
    return datasets, models


def _require_active(uow: UnitOfWork, run_id: str) -> None:
    run = uow.runs.get(run_id)
    if run is None:
        raise NotFound(f"Run with id={run_id} not found")
    if run.deleted_at is not None:
        raise Invalid(f"The run {run_id} must be in the 'active' state. Current state is deleted.")
