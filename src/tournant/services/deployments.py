"""Deployments: making, changing, deploying to and rolling back a named endpoint."""

import contextlib
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from tournant.domain.deployment import Deployment, DeploymentConfig, LogKey, Revision, RevisionState
from tournant.domain.registry import ModelVersion
from tournant.domain.rollout import Phase, Rollout, describe_steps, end
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.services.registry import get_version
from tournant.services.rollouts import move_rollout, start_rollout, supersede_rollout
from tournant.services.routing import bump_routes, find_open_rollout, find_previous
from tournant.services.vouching import refuse_unvouched
from tournant.services.yaml_document import suggest

__all__ = [
    "DeployPlan",
    "add_revision",
    "create_deployment",
    "deploy",
    "plan_deploy",
    "retire_deployment",
    "rollback",
    "set_shadows",
    "update_deployment",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployPlan:
    """What a deploy does: the revision, and the rollout that starts (None: nothing changes), which may supersede another."""

    deployment: Deployment
    revision: Revision
    rollout: Rollout | None = None
    supersedes: str = ""

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps ahead, in words."""
        return () if self.rollout is None else describe_steps(self.rollout)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def create_deployment(
    ctx: Context, name: str, *, config: DeploymentConfig | None = None, project: str = ""
) -> Deployment:
    """Make an endpoint without a revision; Conflict if there is one of that name."""
    with ctx.transactions.begin() as uow:
        if uow.get(Deployment, name):
            raise Conflict(f"deployment {name!r} exists already: change it, or deploy to it")
        return _create(ctx, uow, name, config or DeploymentConfig(), project)


def update_deployment(
    ctx: Context, name: str, *, config: DeploymentConfig | None = None, project: str | None = None
) -> Deployment:
    """Change a deployment's settings or code snapshot; a rollout in progress keeps the strategy it started with."""
    with ctx.transactions.begin() as uow:
        return _update(ctx, uow, get_deployment(uow, name), config, project)


def add_revision(ctx: Context, deployment: str, model_version: str, *, reason: str = "") -> Revision:
    """Add a model version to a deployment without giving it any traffic."""
    with ctx.transactions.begin() as uow:
        return _add_revision(ctx, uow, get_deployment(uow, deployment), model_version, reason)


def deploy(
    ctx: Context,
    name: str,
    model_version: str,
    *,
    config: DeploymentConfig | None = None,
    project: str | None = None,
    reason: str = "",
    force: bool = False,
) -> Revision:
    """Roll a model version out to a deployment, which is made if there is none, and give its revision.

    Saying it again changes nothing: a model version that is stable, or on its way under the same settings, stays as it
    is. It may be named by alias (`flights@champion`). A newer one supersedes a rollout in progress. One that was rejected
    under the same settings is a Conflict. With `force` it is rolled out in any case.
    """
    asked = _Asked(name, _resolve(ctx, model_version), config, project, reason, force)
    with ctx.transactions.begin() as uow:
        return _deploy(ctx, uow, asked).revision


def plan_deploy(
    ctx: Context,
    name: str,
    model_version: str,
    *,
    config: DeploymentConfig | None = None,
    project: str | None = None,
    reason: str = "",
    force: bool = False,
) -> DeployPlan:
    """Tell what `deploy` would do, or raise what it would raise, and do nothing."""
    asked = _Asked(name, _resolve(ctx, model_version), config, project, reason, force)
    plans = []
    with contextlib.suppress(_Undone), ctx.transactions.begin() as uow:
        plans.append(_deploy(ctx, uow, asked))
        raise _Undone
    return plans[0]


class _Undone(Exception):
    """What was done was only a rehearsal."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a deploy asks for."""

    name: str
    model_version: str
    config: DeploymentConfig | None
    project: str | None
    reason: str
    force: bool


def _resolve(ctx: Context, model_version: str) -> str:
    which = model_version.partition("@")[2]
    return get_version(ctx, model_version).id if which and not which.isdigit() else model_version


def _deploy(ctx: Context, uow: UnitOfWork, asked: _Asked) -> DeployPlan:
    _get_model_version(uow, asked.model_version)
    deployment = uow.get(Deployment, asked.name, lock=True)
    if deployment is None:
        deployment = _create(ctx, uow, asked.name, asked.config or DeploymentConfig(), asked.project or "")
    else:
        deployment = _update(ctx, uow, deployment, asked.config, asked.project)
    rollout = find_open_rollout(uow, asked.name)
    known = None if asked.force else _find_known(uow, deployment, asked.model_version, rollout)
    if known:
        return DeployPlan(deployment=deployment, revision=known)
    refuse_unvouched(uow, asked.name, deployment.config.require, asked.model_version)
    revision = _add_revision(ctx, uow, deployment, asked.model_version, asked.reason)
    if rollout:
        supersede_rollout(ctx, uow, rollout, revision.id)
    started = start_rollout(ctx, uow, deployment, revision, asked.reason)
    return DeployPlan(
        deployment=deployment,
        revision=replace(revision, state=RevisionState.CANDIDATE, reason=""),
        rollout=started,
        supersedes=rollout.revision if rollout else "",
    )


def _find_known(
    uow: UnitOfWork, deployment: Deployment, model_version: str, rollout: Rollout | None
) -> Revision | None:
    """Give the revision that makes a deploy superfluous; Conflict if the model version was rejected before."""
    for revision_id in filter(None, (rollout.revision if rollout else "", deployment.stable)):
        held = uow.get(Revision, revision_id)
        if held and held.model_version == model_version and _as_before(held, deployment):
            return held
    for revision in uow.find(Revision, deployment=deployment.name, model_version=model_version, order="-number"):
        if revision.state is RevisionState.REJECTED and revision.config == _digest(deployment.config):
            if uow.count(Rollout, revision=revision.id, superseded_by__ne=""):
                continue
            raise Conflict(
                f"{model_version} was rejected as {revision.id} under the same settings: {revision.reason}. "
                "To try it again all the same: tournant deploy --force"
            )
    return None


def _as_before(revision: Revision, deployment: Deployment) -> bool:
    return revision.state is RevisionState.STABLE or revision.config == _digest(deployment.config)


def set_shadows(ctx: Context, deployment: str, revisions: Sequence[str]) -> Deployment:
    """Let these shadow every request for good: revisions by id, or model versions, which get a revision if they have none."""
    with ctx.transactions.begin() as uow:
        found = get_deployment(uow, deployment)
        shadows = tuple(dict.fromkeys(_get_shadow(ctx, uow, found, name).id for name in revisions))
        if shadows == found.shadows:
            return found
        changed = replace(found, shadows=shadows)
        uow.save(changed)
        words = f"permanent shadows: {', '.join(shadows) or 'none'}"
        uow.record(ctx.event("deployment.shadows_set", f"deployment/{deployment}", words, shadows=list(shadows)))
        bump_routes(uow)
    return changed


def _get_shadow(ctx: Context, uow: UnitOfWork, deployment: Deployment, name: str) -> Revision:
    if "@" in name:
        known = uow.find(Revision, deployment=deployment.name, model_version=name, order="-number", limit=1)
        return known[0] if known else _add_revision(ctx, uow, deployment, name, "permanent shadow")
    return _get_revision(uow, deployment, name)


def rollback(ctx: Context, deployment: str, *, to_revision: str | None = None, reason: str = "") -> Deployment:
    """Return all traffic to an earlier stable revision (the one before, if none is named), at once.

    A rollout in progress is aborted. The revision left is rejected: it is not deployed again unless forced.
    """
    with ctx.transactions.begin() as uow:
        found = get_deployment(uow, deployment)
        target = _get_target(uow, found, to_revision)
        words = reason or f"rolled back to {target.id} by {ctx.actor}"
        rollout = find_open_rollout(uow, deployment)
        if rollout:
            ended = end(rollout, Phase.ABORTED, now=ctx.clock.now(), reason=words)
            move_rollout(ctx, uow, ended, action="abort", gates=rollout.gates)
        left = _get_revision(uow, found, found.stable)
        changed = replace(found, stable=target.id)
        uow.save(changed)
        uow.save(
            replace(left, state=RevisionState.REJECTED, reason=words),
            replace(target, state=RevisionState.STABLE, reason=words),
        )
        data = {"revision": target.id, "left": left.id}
        summary = f"{left.id} → {target.id}: {words}"
        uow.record(ctx.event("deployment.rolled_back", f"deployment/{deployment}", summary, **data))
        bump_routes(uow)
    return changed


def _get_target(uow: UnitOfWork, deployment: Deployment, named: str | None) -> Revision:
    """Only what was stable may become stable without a rollout."""
    if named is None:
        named = find_previous(uow, deployment)
        if not named:
            raise Conflict(f"deployment {deployment.name!r} has no earlier revision to return to")
    target = _get_revision(uow, deployment, named)
    was_stable = uow.count(Rollout, revision=target.id, phase=Phase.PROMOTED.value) > 0
    if target.id == deployment.stable or not was_stable:
        why = "is stable now" if target.id == deployment.stable else "never was stable: deploy its model version"
        raise Conflict(f"cannot roll back to {target.id}: it {why}")
    return target


def retire_deployment(ctx: Context, name: str, *, reason: str = "") -> Deployment:
    """Stop serving a deployment; its history stays, and deploying to it serves it again."""
    with ctx.transactions.begin() as uow:
        found = get_deployment(uow, name)
        if found.retired_at is not None:
            return found
        rollout = find_open_rollout(uow, name)
        if rollout:
            words = "the deployment was retired"
            ended = end(rollout, Phase.ABORTED, now=ctx.clock.now(), reason=words)
            move_rollout(ctx, uow, ended, action="abort", gates=rollout.gates)
        retired = replace(found, retired_at=ctx.clock.now())
        uow.save(retired)
        uow.record(ctx.event("deployment.retired", f"deployment/{name}", reason or f"retired by {ctx.actor}"))
        bump_routes(uow)
    return retired


def get_deployment(uow: UnitOfWork, name: str) -> Deployment:
    """Read a deployment to change it; NotFound names those there are."""
    deployment = uow.get(Deployment, name, lock=True)
    if deployment is None:
        names = ", ".join(found.name for found in uow.find(Deployment, order="name", limit=20))
        raise NotFound(f"there is no deployment {name!r} (there is: {names or 'none'}). Make it: tournant deploy")
    return deployment


def _get_model_version(uow: UnitOfWork, version_id: str) -> ModelVersion:
    version = uow.get(ModelVersion, version_id)
    if version is None:
        hint = "list them: tournant models list" if "@" in version_id else "name a version, such as flights@3"
        raise NotFound(f"there is no model version {version_id!r}; {hint}", place="model_version")
    return version


def _get_revision(uow: UnitOfWork, deployment: Deployment, revision_id: str) -> Revision:
    revision = uow.get(Revision, revision_id)
    if revision is None or revision.deployment != deployment.name:
        known = ", ".join(found.id for found in uow.find(Revision, deployment=deployment.name, order="number"))
        raise NotFound(f"deployment {deployment.name!r} has no revision {revision_id!r} (it has: {known or 'none'})")
    return revision


def _create(ctx: Context, uow: UnitOfWork, name: str, config: DeploymentConfig, project: str) -> Deployment:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} is no deployment name: letters, digits, '_', '.', '-', at most 63", place="name")
    deployment = Deployment(name=name, config=config, created_at=ctx.clock.now(), project=project)
    uow.add(deployment)
    _ensure_log_key(uow, deployment)
    uow.record(ctx.event("deployment.created", f"deployment/{name}", f"p99 ≤ {config.slo_p99_ms:g} ms"))
    bump_routes(uow)
    return deployment


def _update(
    ctx: Context, uow: UnitOfWork, deployment: Deployment, config: DeploymentConfig | None, project: str | None
) -> Deployment:
    changed = replace(
        deployment,
        config=config or deployment.config,
        project=deployment.project if project is None else project,
        retired_at=None,
    )
    if changed == deployment:
        return deployment
    uow.save(changed)
    _ensure_log_key(uow, changed)
    old, new = msgspec.to_builtins(deployment), msgspec.to_builtins(changed)
    fields = [name for name in ("config", "project", "retired_at") if old[name] != new[name]]
    summary = f"changed: {', '.join(fields)}"
    uow.record(ctx.event("deployment.updated", f"deployment/{deployment.name}", summary))
    bump_routes(uow)
    return changed


def _ensure_log_key(uow: UnitOfWork, deployment: Deployment) -> None:
    if deployment.config.log.hash and uow.get(LogKey, deployment.name) is None:
        uow.add(LogKey(deployment=deployment.name, key=secrets.token_hex(16)))


def _add_revision(ctx: Context, uow: UnitOfWork, deployment: Deployment, model_version: str, reason: str) -> Revision:
    version = _get_model_version(uow, model_version)
    _refuse_unknown_columns(deployment, version)
    number = uow.count(Revision, deployment=deployment.name) + 1
    revision = Revision(
        id=f"{deployment.name}/{number}",
        deployment=deployment.name,
        number=number,
        model_version=version.id,
        state=RevisionState.PENDING,
        created_at=ctx.clock.now(),
        config=_digest(deployment.config),
        actor=ctx.actor,
        reason=reason,
    )
    uow.add(revision)
    words = f"{revision.id} serves {version.id}" + (f": {reason}" if reason else "")
    uow.record(ctx.event("revision.created", f"deployment/{deployment.name}", words, revision=revision.id))
    return revision


def _refuse_unknown_columns(deployment: Deployment, version: ModelVersion) -> None:
    """Invalid if the log is to hide a column that there is none of: a typing error would show what must not be seen."""
    columns = [column.name for column in version.signature.inputs]
    for name in sorted(deployment.config.log.hidden - set(columns)):
        known = suggest(name, columns) or f" (it has: {', '.join(columns)})"
        message = (
            f"the log of {deployment.name!r} is to hide {name!r}, and {version.id} has no such input column{known}"
        )
        raise Invalid(message, place=f"deployments.{deployment.name}.log")


def _digest(config: DeploymentConfig) -> str:
    """A digest of the settings a candidate is judged under."""
    judged = msgspec.json.encode((config.slo_p99_ms, config.rollout, config.monitors.metric))
    return hashlib.blake2b(judged, digest_size=16).hexdigest()
