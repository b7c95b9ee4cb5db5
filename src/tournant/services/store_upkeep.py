"""Upkeep of the content store: what is in use, removing what is not, checking and mending."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from tournant.domain.data import Collection, DatasetVersion, Remote, StepCacheEntry, StoreCheck
from tournant.domain.deployment import Deployment, Revision
from tournant.domain.environment import Environment, LockedRequirements
from tournant.domain.predictions import Segment
from tournant.domain.profile import ReferenceProfile
from tournant.domain.registry import ModelVersion
from tournant.domain.retraining import Retraining
from tournant.domain.tracking import Run, StepRun
from tournant.ports import Progress
from tournant.services.context import CoreContext, DataContext

__all__ = ["HOLDERS", "check_store", "collect_garbage", "used_digests"]

# The records whose fields name content; a test makes sure that a new kind of record is here or known to name none.
HOLDERS: tuple[type, ...] = (
    DatasetVersion,
    Deployment,
    Environment,
    LockedRequirements,
    ModelVersion,
    ReferenceProfile,
    Retraining,
    Revision,
    Run,
    Segment,
    StepCacheEntry,
    StepRun,
)
_DIGEST = re.compile(rb'"([0-9a-f]{64})"')
GRACE_SECONDS = 3600.0  # from storing content to the record that names it


def used_digests(ctx: CoreContext) -> dict[str, str]:
    """Give every digest that a record names, with the first record that does: rather one too many than one too few."""
    used: dict[str, str] = {}
    for kind in HOLDERS:
        with ctx.transactions.begin(write=False) as uow:
            records: list[Any] = uow.find(kind)
        for record in records:
            for digest in _DIGEST.findall(msgspec.json.encode(record)):
                used.setdefault(digest.decode(), _name(kind, record))
    return used


def _name(kind: type, record: object) -> str:
    number = next((getattr(record, field) for field in ("id", "name", "digest", "key") if hasattr(record, field)), "")
    return f"{kind.__name__} {number}"


def collect_garbage(ctx: DataContext, *, dry_run: bool, grace_seconds: float = GRACE_SECONDS) -> Collection:
    """Remove content that no record names and that is older than the grace; others may be writing."""
    return ctx.keeper.collect(lambda: used_digests(ctx), grace_seconds=grace_seconds, dry_run=dry_run)


def check_store(
    ctx: DataContext, *, repair_from: Iterable[Remote] | None = None, progress: Progress | None = None
) -> StoreCheck:
    """Read all content and compare it with its digests; with remotes, get from them what is damaged or missing."""
    with ctx.transactions.begin(write=False) as uow:
        roots = {version.digest: version.id for version in uow.find(DatasetVersion, order="id")}
        runs = {run.code: f"the code of run {run.id}" for run in uow.find(Run) if run.code}
        models = {model.digest: model.id for model in uow.find(ModelVersion, order="id")}
    stores = None if repair_from is None else [ctx.open_remote(remote) for remote in repair_from]
    return ctx.keeper.check({**runs, **models, **roots}, repair_from=stores, progress=progress)
