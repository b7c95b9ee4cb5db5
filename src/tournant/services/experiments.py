"""Experiments: named collections of runs."""

from collections.abc import Mapping
from dataclasses import replace

from tournant.domain.control import Event
from tournant.domain.tracking import Experiment
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.services.texts import check_key, check_texts

__all__ = [
    "create_experiment",
    "delete_experiment",
    "ensure_experiment",
    "find_experiment",
    "get_experiment",
    "list_experiments",
    "rename_experiment",
    "restore_experiment",
    "tag_experiment",
]

_LONGEST_NAME = 500
_TRIES = 20


def create_experiment(
    ctx: Context,
    name: str,
    *,
    artifact_location: str = "",
    tags: Mapping[str, str] | None = None,
    description: str = "",
) -> Experiment:
    """Begin an experiment; Conflict when one has the name, a deleted one too."""
    check_key(name, "experiment", longest=_LONGEST_NAME)
    check_texts(tags or {}, "tag")
    for last in (*[False] * (_TRIES - 1), True):  # two that begin at once on PostgreSQL may take the same number
        try:
            with ctx.transactions.begin() as uow:
                _refuse_taken(uow, name)
                return _add(ctx, uow, name, artifact_location=artifact_location, tags=tags, description=description)
        except Conflict:
            if last or find_experiment(ctx, name):
                raise
    raise AssertionError("unreachable")


def ensure_experiment(ctx: Context, uow: UnitOfWork, name: str) -> Experiment:
    """Give the experiment of a name, begun on demand; Invalid when it is deleted."""
    found = _by_name(uow, name)
    if found is None:
        check_key(name, "experiment", longest=_LONGEST_NAME)
        return _add(ctx, uow, name)
    if found.deleted_at is not None:
        raise Invalid(f"experiment {name!r} is deleted; choose another name, or restore it")
    return found


def _add(
    ctx: Context,
    uow: UnitOfWork,
    name: str,
    *,
    artifact_location: str = "",
    tags: Mapping[str, str] | None = None,
    description: str = "",
) -> Experiment:
    now = ctx.clock.now()
    number = next((found.number for found in uow.find(Experiment, order="-number", limit=1)), -1) + 1
    while uow.find(Event, subject=f"experiment/{number}", limit=1):  # it was given before, to one that is purged
        number += 1
    experiment = Experiment(
        number=number,
        name=name,
        created_at=now,
        updated_at=now,
        description=description,
        artifact_location=artifact_location.rstrip("/") or f"mlflow-artifacts:/{number}",
        tags=dict(tags or {}),
    )
    uow.add(experiment)
    uow.record(ctx.event("experiment.created", f"experiment/{number}", f"experiment {name} begun"))
    return experiment


def get_experiment(ctx: Context, number: int) -> Experiment:
    """Read an experiment by number."""
    with ctx.transactions.begin(write=False) as uow:
        return _required(uow, number)


def find_experiment(ctx: Context, name: str) -> Experiment | None:
    """Read an experiment by name, deleted or not."""
    with ctx.transactions.begin(write=False) as uow:
        return _by_name(uow, name)


def list_experiments(ctx: Context) -> list[Experiment]:
    """List all experiments, deleted ones too, by number."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Experiment, order="number")


def rename_experiment(ctx: Context, number: int, name: str) -> Experiment:
    """Give an experiment another name, under which its runs are found from now on."""
    check_key(name, "experiment", longest=_LONGEST_NAME)
    with ctx.transactions.begin() as uow:
        experiment = _active(uow, number)
        if name == experiment.name:
            return experiment
        _refuse_taken(uow, name)
        renamed = replace(experiment, name=name, updated_at=ctx.clock.now())
        uow.save(renamed)
        uow.record(
            ctx.event("experiment.renamed", f"experiment/{number}", f"experiment {experiment.name} is now {name}")
        )
    return renamed


def tag_experiment(ctx: Context, number: int, tags: Mapping[str, str | None]) -> Experiment:
    """Set tags of an experiment; None takes one away."""
    check_texts({key: value or "" for key, value in tags.items()}, "tag")
    with ctx.transactions.begin() as uow:
        experiment = _active(uow, number)
        merged = {key: value for key, value in {**experiment.tags, **tags}.items() if value is not None}
        tagged = replace(experiment, tags=merged, updated_at=ctx.clock.now())
        uow.save(tagged)
    return tagged


def delete_experiment(ctx: Context, number: int) -> Experiment:
    """Delete an experiment with its runs; it can be restored until it is purged."""
    return _change_life(ctx, number, deleted=True)


def restore_experiment(ctx: Context, number: int) -> Experiment:
    """Restore an experiment with the runs that were deleted with it."""
    return _change_life(ctx, number, deleted=False)


def _change_life(ctx: Context, number: int, *, deleted: bool) -> Experiment:
    now = ctx.clock.now()
    with ctx.transactions.begin() as uow:
        experiment = _required(uow, number, lock=True)
        if (experiment.deleted_at is not None) == deleted:
            state = "deleted" if deleted else "active"
            raise Invalid(f"Cannot set to {state}: experiment {experiment.name!r} ({number}) is {state} already")
        changed = replace(experiment, deleted_at=now if deleted else None, updated_at=now)
        uow.save(changed)
        uow.runs.delete_all(number, since=experiment.deleted_at, deleted_at=changed.deleted_at)
        verb = "deleted" if deleted else "restored"
        uow.record(ctx.event(f"experiment.{verb}", f"experiment/{number}", f"experiment {experiment.name} {verb}"))
    return changed


def _active(uow: UnitOfWork, number: int) -> Experiment:
    experiment = _required(uow, number, lock=True)
    if experiment.deleted_at is not None:
        raise Invalid(f"experiment {experiment.name!r} ({number}) is deleted and cannot change; restore it first")
    return experiment


def _required(uow: UnitOfWork, number: int, *, lock: bool = False) -> Experiment:
    found = uow.get(Experiment, number, lock=lock)
    if found is None:
        raise NotFound(f"No Experiment with id={number} exists")
    return found


def _by_name(uow: UnitOfWork, name: str) -> Experiment | None:
    return next(iter(uow.find(Experiment, name=name, limit=1)), None)


def _refuse_taken(uow: UnitOfWork, name: str) -> None:
    taken = _by_name(uow, name)
    if taken:
        state = "" if taken.deleted_at is None else ", and is deleted: restore it, or choose another name"
        raise Conflict(f"Experiment {name!r} already exists (its number is {taken.number}){state}.")
