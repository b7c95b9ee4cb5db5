"""The routing table: who answers for each deployment, built from the metadata."""

from collections.abc import Iterable

import msgspec

from tournant.domain.control import ClockState, RoutesVersion
from tournant.domain.deployment import Deployment, LogKey, Revision, TrafficSplit
from tournant.domain.environment import Environment
from tournant.domain.registry import ConversionStatus, ModelVersion
from tournant.domain.rollout import Phase, Rollout
from tournant.messages.routing import DeploymentRoute, LogRoute, ModelRoute, RevisionRoute, RoutingTable
from tournant.ports import UnitOfWork
from tournant.services.context import Context

__all__ = ["OPEN_PHASES", "bump_routes", "find_open_rollout", "find_previous", "routes_version", "routing_table"]

OPEN_PHASES = tuple(phase.value for phase in Phase if not phase.final)
_LOADING = (Phase.PENDING, Phase.WARMING)
_ROW = "routes"


def bump_routes(uow: UnitOfWork) -> None:
    """Say, in the transaction that changes it, that the routing table is another one now."""
    row = uow.get(RoutesVersion, _ROW, lock=True)
    uow.save(RoutesVersion(name=_ROW, version=(row.version if row else 0) + 1))


def routes_version(uow: UnitOfWork) -> int:
    """Give the routing table's version: 0 before the first deployment."""
    row = uow.get(RoutesVersion, _ROW)
    return row.version if row else 0


def find_open_rollout(uow: UnitOfWork, deployment: str) -> Rollout | None:
    """Give the rollout in progress; a deployment has one at most."""
    found = uow.find(Rollout, deployment=deployment, phase__in=OPEN_PHASES, order="-started_at", limit=1)
    return found[0] if found else None


def find_previous(uow: UnitOfWork, deployment: Deployment) -> str:
    """Give the revision that was stable before, to which a rollback returns; empty if there was none."""
    promoted = uow.find(Rollout, revision=deployment.stable, phase=Phase.PROMOTED.value, order="-ended_at", limit=1)
    return promoted[0].stable if promoted else ""


def routing_table(ctx: Context) -> RoutingTable:
    """Build what gateways serve by, in one consistent read."""
    with ctx.transactions.begin(write=False) as uow:
        replay = uow.get(ClockState, "replay")
        return RoutingTable(
            version=routes_version(uow),
            barrier=replay.barrier if replay else 0,
            now=replay.now if replay else None,
            deployments=tuple(
                _deployment_route(uow, deployment)
                for deployment in uow.find(Deployment, order="name")
                if deployment.retired_at is None
            ),
        )


def _deployment_route(uow: UnitOfWork, deployment: Deployment) -> DeploymentRoute:
    rollout = find_open_rollout(uow, deployment.name)
    candidate = rollout.revision if rollout else ""
    phase = rollout.phase if rollout else None
    judged = rollout if rollout and phase not in _LOADING else None
    canary = candidate if phase is Phase.CANARY else ""
    labelled = bool(rollout and canary and rollout.strategy.minimum_labels)
    compared = phase is Phase.SHADOW or labelled
    # At 100 % stable is what scores copies, so that labels still tell of both.
    whole = bool(rollout and labelled and rollout.canary_percent == 100)
    shadows = (*deployment.shadows, *((candidate,) if compared else ()), *((deployment.stable,) if whole else ()))
    # A permanent shadow that is stable now shadows what the canary gets.
    shadows = tuple(dict.fromkeys(shadow for shadow in shadows if canary or shadow != deployment.stable))
    warming = (candidate,) if phase in _LOADING else ()
    standby = find_previous(uow, deployment) if deployment.config.standby else ""
    log, log_key = deployment.config.log, uow.get(LogKey, deployment.name)
    held = dict.fromkeys(filter(None, (deployment.stable, canary, *shadows, *warming, standby)))
    return DeploymentRoute(
        name=deployment.name,
        slo_p99_ms=deployment.config.slo_p99_ms,
        entity=deployment.config.entity,
        stable=deployment.stable,
        canary=canary,
        canary_weight=TrafficSplit.of_canary(rollout.canary_percent).canary if rollout and canary else 0,
        rollout=judged.id if judged else "",
        epoch=judged.epoch if judged else 0,
        shadows=shadows,
        warming=warming,
        standby=standby,
        warmup_requests=(rollout.strategy if rollout else deployment.config.rollout).warmup_requests,
        log=LogRoute(sample=log.sample, drop=log.drop, hash=log.hash, key=log_key.key if log_key else ""),
        revisions=_revision_routes(uow, held),
    )


def _revision_routes(uow: UnitOfWork, ids: Iterable[str]) -> tuple[RevisionRoute, ...]:
    routes = []
    for revision_id in ids:
        revision = uow.get(Revision, revision_id)
        version = uow.get(ModelVersion, revision.model_version) if revision else None
        if version:
            routes.append(
                RevisionRoute(
                    id=revision_id,
                    model=_model_route(uow, version),
                    signature=version.signature,
                    example=version.example,
                )
            )
    return tuple(routes)


def _model_route(uow: UnitOfWork, version: ModelVersion) -> ModelRoute:
    """A model that may be used converted needs no environment; any other runs in a worker of its own."""
    described = ModelRoute(
        version=version.id,
        tree=version.digest,
        entry=version.entry,
        flavor=version.flavor,
        predict=version.predict,
        environment=version.environment,
        datasets=version.datasets,
    )
    if version.conversion.status in (ConversionStatus.SUCCESSFUL, ConversionStatus.NATIVE):
        return msgspec.structs.replace(described, onnx=version.conversion.digest)
    environment = uow.get(Environment, version.environment)
    if environment is None:
        return described
    return msgspec.structs.replace(described, python=environment.python, lock=environment.lock)
