"""Operations on deployments, rollouts and labels."""

from typing import Annotated, Any

import msgspec

from tournant.api.operation import Empty, Operation, Page
from tournant.domain.deployment import Deployment, DeploymentConfig, Revision
from tournant.domain.rollout import Rollout, RolloutDecision
from tournant.services import deployments, labels, rollouts
from tournant.services.context import Context
from tournant.services.lookup import find_newest, get_record
from tournant.services.routing import find_open_rollout

__all__ = ["OPERATIONS"]


class ByName(msgspec.Struct, frozen=True, kw_only=True):
    """Which deployment."""

    name: str


class DeploymentDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment with its revisions and the rollout in progress, if there is one."""

    deployment: Deployment
    revisions: list[Revision]
    rollout: Rollout | None


class Deploy(msgspec.Struct, frozen=True, kw_only=True):
    """Which model version to roll out where; `config` replaces the deployment's settings, `project` its code snapshot."""

    name: str
    model_version: str
    config: DeploymentConfig | None = None
    project: str | None = None
    reason: str = ""
    force: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a deploy would do: `rollout` is None where nothing would change; `steps` are the rollout's, in words."""

    revision: Revision
    rollout: Rollout | None
    supersedes: str
    steps: tuple[str, ...]


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """Which deployment to take back, to which revision (the one before, if none is named)."""

    name: str
    revision: str | None = None
    reason: str = ""


class SetShadows(msgspec.Struct, frozen=True, kw_only=True):
    """Which revisions shall shadow every request for good."""

    name: str
    revisions: tuple[str, ...]


class ListRollouts(Page, frozen=True, kw_only=True):
    """Which rollouts."""

    deployment: str | None = None


class ById(msgspec.Struct, frozen=True, kw_only=True):
    """Which rollout."""

    id: str


class RolloutDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout with every decision about it, in order."""

    rollout: Rollout
    decisions: list[RolloutDecision]


class SteerRollout(msgspec.Struct, frozen=True, kw_only=True):
    """Which rollout, and why."""

    id: str
    reason: str = ""


class PromoteRollout(SteerRollout, frozen=True, kw_only=True):
    """Which rollout to move on, and why; `force` makes it stable at once, whatever its gates and freezes say."""

    force: bool = False


class GivenLabel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A label for a prediction, named by its id or by your own key."""

    value: float
    prediction_id: str | None = None
    key: str | None = None
    event_time: float | None = None


class AddLabels(msgspec.Struct, frozen=True, kw_only=True):
    """Labels of one deployment."""

    deployment: str
    labels: Annotated[list[GivenLabel], msgspec.Meta(max_length=100_000)]


class LabelsAdded(msgspec.Struct, frozen=True, kw_only=True):
    """How many labels were accepted."""

    accepted: int


def list_deployments(ctx: Context, _request: Empty) -> list[Deployment]:
    """List deployments."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Deployment, order="name")


def get_deployment(ctx: Context, request: ByName) -> DeploymentDetails:
    """Show one deployment with its revisions and rollout."""
    deployment = get_record(ctx, Deployment, request.name, noun="deployment", hint="tournant deployments list")
    with ctx.transactions.begin(write=False) as uow:
        return DeploymentDetails(
            deployment=deployment,
            revisions=uow.find(Revision, deployment=deployment.name, order="-number"),
            rollout=find_open_rollout(uow, deployment.name),
        )


def deploy(ctx: Context, request: Deploy) -> Revision:
    """Roll a model version out to a deployment, which is made if there is none."""
    return deployments.deploy(ctx, request.name, request.model_version, **_how(request))


def plan_deploy(ctx: Context, request: Deploy) -> Plan:
    """Tell what a deploy would do, and do nothing."""
    plan = deployments.plan_deploy(ctx, request.name, request.model_version, **_how(request))
    return Plan(revision=plan.revision, rollout=plan.rollout, supersedes=plan.supersedes, steps=plan.steps)


def _how(request: Deploy) -> dict[str, Any]:
    return {name: getattr(request, name) for name in ("config", "project", "reason", "force")}


def roll_back(ctx: Context, request: Rollback) -> Deployment:
    """Return to an earlier revision at once."""
    return deployments.rollback(ctx, request.name, to_revision=request.revision, reason=request.reason)


def set_shadows(ctx: Context, request: SetShadows) -> Deployment:
    """Let revisions shadow every request for good."""
    return deployments.set_shadows(ctx, request.name, request.revisions)


def list_rollouts(ctx: Context, request: ListRollouts) -> list[Rollout]:
    """List the newest rollouts."""
    return find_newest(
        ctx,
        Rollout,
        time_field="started_at",
        limit=request.limit,
        before=request.before,
        deployment=request.deployment,
    )


def get_rollout(ctx: Context, request: ById) -> RolloutDetails:
    """Show one rollout with its gates and decisions."""
    rollout = get_record(ctx, Rollout, request.id, noun="rollout", hint="tournant rollouts list")
    with ctx.transactions.begin(write=False) as uow:
        decisions = uow.find(RolloutDecision, rollout=rollout.id, order="number")
    return RolloutDetails(rollout=rollout, decisions=decisions)


def promote_rollout(ctx: Context, request: PromoteRollout) -> Rollout:
    """Move a rollout to its next step by hand."""
    return rollouts.promote_rollout(ctx, request.id, reason=request.reason, force=request.force)


def pause_rollout(ctx: Context, request: SteerRollout) -> Rollout:
    """Hold a rollout where it is."""
    return rollouts.pause_rollout(ctx, request.id, reason=request.reason)


def resume_rollout(ctx: Context, request: SteerRollout) -> Rollout:
    """Let a paused rollout go on."""
    return rollouts.resume_rollout(ctx, request.id, reason=request.reason)


def abort_rollout(ctx: Context, request: SteerRollout) -> Rollout:
    """End a rollout with all traffic on stable."""
    return rollouts.abort_rollout(ctx, request.id, reason=request.reason)


def add_labels(ctx: Context, request: AddLabels) -> LabelsAdded:
    """Say what really happened."""
    given = [
        labels.GivenLabel(value=g.value, prediction_id=g.prediction_id, key=g.key, event_time=g.event_time)
        for g in request.labels
    ]
    return LabelsAdded(accepted=labels.add_labels(ctx, request.deployment, given))


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        name="deployments.list",
        method="GET",
        path="/deployments",
        request=Empty,
        response=list[Deployment],
        handler=list_deployments,
    ),
    Operation(
        name="deployments.get",
        method="GET",
        path="/deployments/{name}",
        request=ByName,
        response=DeploymentDetails,
        handler=get_deployment,
    ),
    Operation(
        name="deployments.deploy",
        method="POST",
        path="/deployments/{name}",
        request=Deploy,
        response=Revision,
        handler=deploy,
    ),
    Operation(
        name="deployments.plan",
        method="POST",
        path="/deployments/{name}/plan",
        request=Deploy,
        response=Plan,
        handler=plan_deploy,
    ),
    Operation(
        name="deployments.rollback",
        method="POST",
        path="/deployments/{name}/rollback",
        request=Rollback,
        response=Deployment,
        handler=roll_back,
    ),
    Operation(
        name="deployments.shadows",
        method="PUT",
        path="/deployments/{name}/shadows",
        request=SetShadows,
        response=Deployment,
        handler=set_shadows,
    ),
    Operation(
        name="rollouts.list",
        method="GET",
        path="/rollouts",
        request=ListRollouts,
        response=list[Rollout],
        handler=list_rollouts,
    ),
    Operation(
        name="rollouts.get",
        method="GET",
        path="/rollouts/{id}",
        request=ById,
        response=RolloutDetails,
        handler=get_rollout,
    ),
    Operation(
        name="rollouts.promote",
        method="POST",
        path="/rollouts/{id}/promote",
        request=PromoteRollout,
        response=Rollout,
        handler=promote_rollout,
    ),
    *(
        Operation(
            name=f"rollouts.{verb}",
            method="POST",
            path=f"/rollouts/{{id}}/{verb}",
            request=SteerRollout,
            response=Rollout,
            handler=handler,
        )
        for verb, handler in (("pause", pause_rollout), ("resume", resume_rollout), ("abort", abort_rollout))
    ),
    Operation(
        name="labels.add", method="POST", path="/labels", request=AddLabels, response=LabelsAdded, handler=add_labels
    ),
)
