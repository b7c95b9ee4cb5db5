"""Experiments and runs of an MLflow store: whole histories in small transactions, each of which may be done again."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tournant.domain.tracking import DatasetInput, Experiment, Metric, Run, RunStatus
from tournant.errors import Invalid
from tournant.ports import SourceExperiment, SourceRun, Unreadable
from tournant.services.artifacts import SCHEME
from tournant.services.experiments import create_experiment, find_experiment
from tournant.services.mlflow_import_files import Brought, bring_files
from tournant.services.mlflow_import_report import (
    IMPORT_STATE,
    IMPORTED_FROM,
    INCOMPLETE,
    Importing,
    fingerprint,
    is_identifier,
)
from tournant.services.texts import check_key

__all__ = ["bring_experiment", "bring_run"]

_GOING = (RunStatus.PENDING, RunStatus.RUNNING)
_COMMIT = "mlflow.source.git.commit"
_DELETED = "-deleted"  # in the state of what was deleted in the source
_UNFINISHED = "unfinished"  # the state of what is being brought again
_LONGEST_NAME = 1000


def bring_experiment(work: Importing, given: SourceExperiment, *, again: bool) -> Experiment:
    """Give the experiment of the same name, begun if there is none; Invalid when it is deleted here and not there.

    One that was brought before is brought up to date; one that was made here, or another of the name in the same store
    (`again`), stays as it is.
    """
    ctx, report, address = work.ctx, work.report, work.source.address
    tags = report.keepable(given.tags, "tag", f"experiment {given.name}")
    here = find_experiment(ctx, given.name)
    if here is None:
        here = create_experiment(ctx, given.name, tags={**tags, IMPORTED_FROM: address})
    state = fingerprint(given.tags, given.deleted, given.created_at, given.updated_at)
    if IMPORTED_FROM in here.tags and here.tags.get(IMPORT_STATE) != state and not again:
        now = ctx.clock.now()
        with ctx.transactions.begin() as uow:
            here = uow.get(Experiment, here.number, lock=True) or here
            here = replace(
                here,
                created_at=here.created_at if given.created_at is None else given.created_at,
                updated_at=now if given.updated_at is None else given.updated_at,
                tags={**here.tags, **tags, IMPORT_STATE: state},
                deleted_at=(here.deleted_at or given.updated_at or now) if given.deleted else None,
            )
            uow.save(here)
            summary = f"experiment {here.name} imported from {address}"
            uow.record(ctx.event("experiment.imported", f"experiment/{here.number}", summary))
        report.experiments += 1
    if here.deleted_at is not None and not given.deleted:
        raise Invalid(f"experiment {here.name!r} is deleted here: restore it, and import again")
    return here


def bring_run(work: Importing, experiment: Experiment, given: SourceRun, *, with_experiment: bool) -> None:
    """Bring a run with all it has, or what is new of it; `with_experiment` it was deleted. One that was made here is left."""
    if not is_identifier(given.id):
        raise Invalid(f"{given.id[:80]!r} is no id of a run")
    with work.ctx.transactions.begin(write=False) as uow:
        here = uow.runs.get(given.id)
    if here and IMPORTED_FROM not in here.tags:
        raise Invalid("a run of this id was made here, and not imported; it stays as it is")
    before = here.tags.get(IMPORT_STATE, "") if here else ""
    deleted, owner = given.deleted or with_experiment, f"run {given.id}"
    state = _state(given, deleted=deleted)
    if here and before.removesuffix(INCOMPLETE) == state:
        files = bring_files(work, given.place, _place(here), owner=owner, trust_size=given.status not in _GOING)
        if files.files or (files.whole and before != state):
            _finish(work, here, state, files)
        else:
            work.report.unchanged += 1
        return
    if here and here.deleted_at is not None and _DELETED not in before:
        raise Invalid("it was deleted here, and the source has more of it: restore it, and import again")
    restored_here = here is not None and here.deleted_at is None and _DELETED in before
    deleted_at = None
    if deleted and not restored_here:
        deleted_at = (experiment.deleted_at if with_experiment else given.deleted_at) or work.ctx.clock.now()
    unfinished = _UNFINISHED + (_DELETED if restored_here else "")
    run = _begin(work, experiment, work.source.complete(given), here, unfinished)
    for page in work.source.points(given):
        _log(work, given.id, page)
    trusted = given.status not in _GOING and not before
    files = bring_files(work, given.place, _place(run), owner=owner, trust_size=trusted)
    _finish(work, replace(run, status=given.status, ended_at=given.ended_at, deleted_at=deleted_at), state, files)


def _state(given: SourceRun, *, deleted: bool) -> str:
    datasets = sorted((each.name, each.digest) for each in given.datasets)
    facts = (given.name, given.status, given.ended_at, given.params, given.tags, given.measured, datasets)
    return fingerprint(*facts, deleted) + (_DELETED if deleted else "")


def _place(run: Run) -> str:
    """Give where a brought run's files are kept here."""
    return f"{SCHEME}:/{run.experiment_number}/{run.id}/artifacts"


def _begin(work: Importing, experiment: Experiment, given: SourceRun, here: Run | None, unfinished: str) -> Run:
    """Write what a run is, its params, tags and inputs, in one transaction; it is not deleted until all of it is here."""
    ctx, report, owner = work.ctx, work.report, f"run {given.id}"
    params = report.keepable(given.params, "param", owner)
    tags = {**report.keepable(given.tags, "tag", owner), IMPORTED_FROM: work.source.address}
    datasets = {(each.name, each.digest): each for each in _keepable(given.datasets, work, owner)}
    models = {(each.model, each.role): each for each in given.models}
    with ctx.transactions.begin() as uow:
        if here is None:
            started = given.started_at if given.started_at is not None else given.ended_at
            run = Run(
                id=given.id,
                experiment=experiment.name,
                experiment_number=experiment.number,
                name=_name(given),
                status=given.status,
                started_at=experiment.created_at if started is None else started,
                ended_at=given.ended_at,
                actor=given.actor or given.tags.get("mlflow.user", "") or ctx.actor,
                params=params,
                tags=tags,
                commit=given.tags.get(_COMMIT, ""),
            )
            run = uow.runs.add(replace(run, artifact_location=_place(run)))
        else:
            run = replace(uow.runs.get(given.id, lock=True) or here, name=_name(given) or here.name, deleted_at=None)
            uow.runs.update(run)
            uow.runs.log(given.id, params=params, tags={**tags, IMPORT_STATE: unfinished})
        known = uow.count(DatasetInput, run=given.id)
        uow.save(*datasets.values())
        uow.save(*models.values())
        report.datasets += uow.count(DatasetInput, run=given.id) - known
    return run


def _finish(work: Importing, run: Run, state: str, files: Brought) -> None:
    """Write how a run ended, and that it was brought, with or without all of its files."""
    ctx = work.ctx
    with ctx.transactions.begin() as uow:
        now = uow.runs.get(run.id, lock=True) or run
        if now.deleted_at is not None:
            uow.runs.update(replace(now, deleted_at=None))  # only for a moment: a deleted one takes no tags
        uow.runs.log(run.id, tags={IMPORT_STATE: state if files.whole else state + INCOMPLETE})
        uow.runs.update(
            replace(
                now,
                status=run.status,
                ended_at=run.ended_at,
                artifact_location=files.location,
                deleted_at=run.deleted_at,
            )
        )
        summary = f"{run.name} imported from {work.source.address}"
        uow.record(ctx.event("run.imported", f"run/{run.id}", summary, experiment=run.experiment))
    work.report.runs += 1
    work.tell()


def _name(given: SourceRun) -> str:
    try:
        check_key(given.name, "run", longest=_LONGEST_NAME)
    except Invalid:
        return ""
    return given.name


def _keepable(datasets: Iterable[DatasetInput], work: Importing, owner: str) -> Iterable[DatasetInput]:
    for each in datasets:
        if not each.name or "\0" in each.name + each.digest + each.source + each.schema + each.profile:
            work.report.leave("dataset", f"{each.name!r} of {owner}", "it has no name, or a NUL character in it")
        else:
            yield replace(each, tags=work.report.keepable(each.tags, "tag", f"dataset {each.name} of {owner}"))


def _log(work: Importing, run: str, page: Sequence[Metric] | Unreadable) -> None:
    if isinstance(page, Unreadable):
        work.report.left.append(page)
        return
    refused = {key: reason for key in {point.key for point in page} if (reason := _refusal(key))}
    for key, reason in refused.items():
        work.report.leave("metric", f"{key[:80]} of run {run}", reason)
    points = [point for point in page if point.key not in refused] if refused else page
    with work.ctx.transactions.begin() as uow:
        work.report.points += uow.runs.log(run, metrics=points)
    work.tell()


def _refusal(key: str) -> str:
    try:
        check_key(key, "metric")
    except Invalid as exc:
        return exc.message
    return ""
