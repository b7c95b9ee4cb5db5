"""Environments: requirements locked once, and kept with their digest."""

import hashlib
from dataclasses import replace

from tournant.domain.environment import Environment, LockedRequirements, packages
from tournant.domain.pipeline import Project
from tournant.errors import Conflict
from tournant.services.context import Context
from tournant.services.lookup import get_record

__all__ = ["capture_environment", "find_environment", "get_environment", "lock_requirements"]


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
