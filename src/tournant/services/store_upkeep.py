"""Upkeep of the content store: what is in use, removing what is not, checking and mending."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

import msgspec

from tournant.domain.data import Collection, DatasetVersion, Remote, StepCacheEntry, StoreCheck
from tournant.domain.deployment import Deployment, Revision
from tournant.domain.environment import Environment, LockedRequirements
from tournant.domain.logged_models import Artifact, LoggedModel
from tournant.domain.predictions import Segment
from tournant.domain.profile_records import ReferenceProfile
from tournant.domain.registry import ModelSignature, ModelVersion
from tournant.domain.retraining import Retraining
from tournant.domain.run_query import RunQuery, View
from tournant.domain.tracking import Run, StepRun
from tournant.domain.verification import Verification
from tournant.ports import Progress
from tournant.services.context import CoreContext, DataContext
from tournant.services.lookup import LARGEST_PAGE

__all__ = ["HOLDERS", "check_store", "collect_garbage", "used_digests"]

# The records whose fields name content; a test makes sure that a new kind of record is here or known to name none.
HOLDERS: tuple[type, ...] = (
    Artifact,
    DatasetVersion,
    Deployment,
    Environment,
    LockedRequirements,
    LoggedModel,
    ModelSignature,
    ModelVersion,
    ReferenceProfile,
    Retraining,
    Revision,
    Segment,
    StepCacheEntry,
    StepRun,
    Verification,
)
_DIGEST = re.compile(rb'"([0-9a-f]{64})"')
GRACE_SECONDS = 3600.0  # from storing content to the record that names it


def used_digests(ctx: CoreContext, *, but: Callable[[object], bool] = lambda _record: False) -> dict[str, str]:
    """Give every digest that a record names, with the first record that does: rather one too many than one too few.

    Records for which `but` is true do not count.
    """
    used: dict[str, str] = {}
    for kind in HOLDERS:
        with ctx.transactions.begin(write=False) as uow:
            records: list[Any] = uow.find(kind)
        for record in records:
            if not but(record):
                _note(used, record)
    for run in _runs(ctx):
        if not but(run):
            _note(used, run)
    return used


def _note(used: dict[str, str], record: object) -> None:
    number = next((getattr(record, field) for field in ("id", "path", "name", "digest") if hasattr(record, field)), "")
    for digest in _DIGEST.findall(msgspec.json.encode(record)):
        used.setdefault(digest.decode(), f"{type(record).__name__} {number}")


def _runs(ctx: CoreContext) -> Iterator[Run]:
    """Give every run, deleted ones too (they can be restored)."""
    with ctx.transactions.begin(write=False) as uow:
        for offset in count(0, LARGEST_PAGE):
            page = uow.runs.find(RunQuery(view=View.ALL, limit=LARGEST_PAGE, offset=offset))
            yield from page
            if len(page) < LARGEST_PAGE:
                return


def collect_garbage(
    ctx: DataContext,
    *,
    dry_run: bool,
    grace_seconds: float = GRACE_SECONDS,
    but: Callable[[object], bool] = lambda _record: False,
) -> Collection:
    """Remove content that no record names, but for some (see `used_digests`), and that is older than the grace; others may be writing."""
    return ctx.keeper.collect(lambda: used_digests(ctx, but=but), grace_seconds=grace_seconds, dry_run=dry_run)


def check_store(
    ctx: DataContext, *, repair_from: Iterable[Remote] | None = None, progress: Progress | None = None
) -> StoreCheck:
    """Read all content and compare it with its digests; with remotes, get from them what is damaged or missing."""
    roots = {run.code: f"the code of run {run.name}" for run in _runs(ctx) if run.code}
    with ctx.transactions.begin(write=False) as uow:
        roots.update({segment.digest: f"the predictions {segment.digest[:12]}" for segment in uow.find(Segment)})
        roots.update({artifact.digest: f"the artifact {artifact.path}" for artifact in uow.find(Artifact)})
        for model in uow.find(ModelVersion, order="id"):
            named = {
                model.conversion.digest: "converted",
                model.reference: "reference rows of",
                model.digest: "files of",
            }
            roots.update({digest: f"{what} {model.id}" for digest, what in named.items() if digest})
        roots.update({version.digest: version.id for version in uow.find(DatasetVersion, order="id")})
    stores = None if repair_from is None else [ctx.open_remote(remote) for remote in repair_from]
    return ctx.keeper.check(roots, repair_from=stores, progress=progress)
