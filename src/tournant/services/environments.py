"""Environments: requirements locked once, and kept with their digest."""

import hashlib
import time
from dataclasses import replace

from tournant.domain.deployment import Deployment, Revision, RevisionState
from tournant.domain.environment import Environment, LockedRequirements, packages
from tournant.domain.pipeline import Project
from tournant.domain.registry import ModelVersion
from tournant.errors import Conflict, NotFound
from tournant.ports import BuiltEnvironment
from tournant.services.context import Context
from tournant.services.lookup import get_record
from tournant.services.registry import get_version

__all__ = [
    "capture_environment",
    "find_environment",
    "gc_environments",
    "get_environment",
    "list_environments",
    "lock_requirements",
    "resolve_environment",
]


def capture_environment(ctx: Context, project: Project, *, relock: bool = False) -> Environment | None:
    """Give the project's locked environment; None when it declares none and runs on tournant's own Python."""
    if project.environment is None:
        return None
    spec = project.environment
    return lock_requirements(ctx, python=spec.python, requirements=spec.text, relock=relock)


def find_environment(ctx: Context, project: Project) -> Environment | None:
    """Give the environment that the project's requirements were locked to, if they were; nothing is resolved."""
    if project.environment is None:
        return None
    return _find_locked(ctx, _key(ctx, project.environment.python, project.environment.text))


def list_environments(ctx: Context) -> list[Environment]:
    """List the environments on record, newest first."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Environment, order="-created_at")


def resolve_environment(ctx: Context, name: str) -> Environment:
    """Read an environment by its digest or the first digits of it, or by a model version that has it (`flights@3`)."""
    if "@" in name:
        version = get_version(ctx, name)
        if not version.environment:
            raise NotFound(f"{version.id} has no environment: an ONNX model needs none")
        return get_environment(ctx, version.environment)
    found = [environment for environment in list_environments(ctx) if environment.digest.startswith(name)]
    if len(found) != 1:
        what = "there is no environment" if not found else f"{len(found)} environments begin with"
        raise NotFound(f"{what} {name!r}; list them: tournant environments list")
    return found[0]


def gc_environments(ctx: Context, *, unused_seconds: float, dry_run: bool = False) -> dict[str, BuiltEnvironment]:
    """Take away built environments that were not asked for lately and that no revision in use needs; give them by digest.

    Their locks stay on record, so that each can be built again.
    """
    needed = _needed_environments(ctx)
    before = time.time() - unused_seconds
    gone = {
        digest: built
        for digest, built in ctx.environments.built().items()
        if digest not in needed and built.used_at <= before
    }
    for digest in () if dry_run else gone:
        ctx.environments.remove(digest)
    return gone


def _needed_environments(ctx: Context) -> set[str]:
    """Give the environments of revisions that answer, are on their way, or shadow."""
    with ctx.transactions.begin(write=False) as uow:
        deployments = uow.find(Deployment, retired_at=None)
        shadows = {shadow for deployment in deployments for shadow in deployment.shadows}
        states = (RevisionState.STABLE, RevisionState.CANDIDATE, RevisionState.PENDING)
        revisions = [revision for revision in uow.find(Revision) if revision.state in states or revision.id in shadows]
        versions = {revision.model_version for revision in revisions}
        return (
            {version.environment for version in uow.find(ModelVersion, id__in=sorted(versions))} if versions else set()
        )


def lock_requirements(ctx: Context, *, python: str, requirements: str, relock: bool = False) -> Environment:
    """Lock requirements and keep the environment.

    What was locked before is not resolved again: a model that is retrained in a year gets what it was made in, unless
    its requirements change or `relock` asks for new versions.
    """
    key = _key(ctx, python, requirements)
    known = None if relock else _find_locked(ctx, key)
    if known:
        return known
    now = ctx.clock.now()
    environment = replace(ctx.environments.lock(python=python, requirements=requirements), created_at=now)
    _keep(ctx, environment)
    with ctx.transactions.begin() as uow:
        uow.save(LockedRequirements(key=key, environment=environment.digest, locked_at=now))
    return environment


def get_environment(ctx: Context, digest: str) -> Environment:
    """Read an environment."""
    return get_record(ctx, Environment, digest, noun="environment")


def _key(ctx: Context, python: str, requirements: str) -> str:
    text = f"{python or ctx.settings.platform_python}\n{requirements}"
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _find_locked(ctx: Context, key: str) -> Environment | None:
    with ctx.transactions.begin(write=False) as uow:
        locked = uow.get(LockedRequirements, key)
        return uow.get(Environment, locked.environment) if locked else None


def _keep(ctx: Context, environment: Environment) -> None:
    summary = f"Python {environment.python} with {len(packages(environment.lock))} packages locked"
    try:
        with ctx.transactions.begin() as uow:
            if uow.get(Environment, environment.digest) is None:
                uow.add(environment)
                uow.record(ctx.event("environment.locked", f"environment/{environment.digest[:12]}", summary))
    except Conflict:
        return  # somebody else has locked the same meanwhile
