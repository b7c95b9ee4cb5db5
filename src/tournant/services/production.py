"""What of a model ran in production: which version answered which deployment, from when until when, and what came after it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tournant.domain.control import Event
from tournant.domain.deployment import Deployment, Revision
from tournant.domain.registry import ModelVersion
from tournant.domain.rollout import Phase, Rollout
from tournant.ports import UnitOfWork
from tournant.services.context import Context

__all__ = ["Tenure", "find_tenures", "list_tenures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """A stretch of time in which one revision was stable; `until` is None while it is, `followed_by` empty if nothing did."""

    deployment: str
    revision: str
    model_version: str
    since: float
    until: float | None
    followed_by: str = ""  # the next stable revision
    followed_by_version: str = ""  # ... and its model version


def list_tenures(ctx: Context, model: str) -> list[Tenure]:
    """List when versions of a model answered, the newest first."""
    with ctx.transactions.begin(write=False) as uow:
        ids = [version.id for version in uow.find(ModelVersion, model=model)]
        return find_tenures(uow, ids)


def find_tenures(uow: UnitOfWork, versions: Sequence[str]) -> list[Tenure]:
    """Tell when model versions answered, the newest first, in the caller's transaction."""
    revisions = uow.find(Revision, model_version__in=list(versions)) if versions else []
    wanted = {revision.id for revision in revisions}
    found = [
        tenure
        for name in sorted({revision.deployment for revision in revisions})
        for tenure in _tenures(uow, name)
        if tenure.revision in wanted
    ]
    return sorted(found, key=lambda tenure: tenure.since, reverse=True)


def _tenures(uow: UnitOfWork, deployment: str) -> Iterator[Tenure]:
    """Follow one deployment's stable revision from the first to now: promotions and rollbacks are all that move it."""
    versions = {revision.id: revision.model_version for revision in uow.find(Revision, deployment=deployment)}
    promoted = uow.find(Rollout, deployment=deployment, phase=Phase.PROMOTED.value)
    back = uow.find(Event, subject=f"deployment/{deployment}", kind="deployment.rolled_back")
    moves = sorted(
        [
            *((rollout.ended_at or rollout.started_at, rollout.revision) for rollout in promoted),
            *((event.time, str(event.data.get("revision", ""))) for event in back),
        ]
    )
    held = uow.get(Deployment, deployment)
    for index, (since, revision) in enumerate(moves):
        until, after = moves[index + 1] if index + 1 < len(moves) else (held.retired_at if held else None, "")
        yield Tenure(
            deployment=deployment,
            revision=revision,
            model_version=versions.get(revision, ""),
            since=since,
            until=until,
            followed_by=after,
            followed_by_version=versions.get(after, ""),
        )
