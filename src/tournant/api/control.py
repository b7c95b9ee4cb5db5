"""Operations on the system itself: its status and the replay clock."""

import time
from typing import Any

import msgspec

from tournant.api.operation import Empty, Operation
from tournant.domain.alerts import Alert, AlertState
from tournant.domain.control import ClockState, GatewayState
from tournant.domain.deployment import Deployment
from tournant.domain.retraining import Retraining
from tournant.domain.rollout import Rollout
from tournant.errors import Unavailable
from tournant.services.context import Context
from tournant.services.routing import find_open_rollout

__all__ = ["OPERATIONS"]


class DeploymentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `tournant status`."""

    deployment: Deployment
    rollout: Rollout | None
    open_alerts: list[Alert]
    retraining: Retraining | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How everything is: `now` is business time, `gateways` those ever heard of."""

    now: float
    replay: bool
    deployments: list[DeploymentStatus]
    gateways: list[GatewayState]


class SetClock(msgspec.Struct, frozen=True, kw_only=True):
    """The business time to advance a replay to, in seconds since the epoch."""

    now: float


class ClockReading(msgspec.Struct, frozen=True, kw_only=True):
    """Business time, and whether a replay drives it; `wall` is real time."""

    now: float
    replay: bool
    wall: float


def get_status(ctx: Context, _request: Empty) -> Status:
    """Show how everything is."""
    with ctx.transactions.begin(write=False) as uow:
        alerts = uow.find(Alert, state=AlertState.OPEN, order="-opened_at")
        lines = []
        for deployment in uow.find(Deployment, order="name"):
            retrainings = uow.find(Retraining, deployment=deployment.name, ended_at=None, order="-started_at", limit=1)
            lines.append(
                DeploymentStatus(
                    deployment=deployment,
                    rollout=find_open_rollout(uow, deployment.name),
                    open_alerts=[alert for alert in alerts if alert.deployment == deployment.name],
                    retraining=next(iter(retrainings), None),
                )
            )
        gateways = uow.find(GatewayState, order="id")
        replay = uow.get(ClockState, "replay") is not None
    return Status(now=ctx.clock.now(), replay=replay, deployments=lines, gateways=gateways)


def get_clock(ctx: Context, _request: Empty) -> ClockReading:
    """Tell the business time."""
    with ctx.transactions.begin(write=False) as uow:
        replay = uow.get(ClockState, "replay") is not None
    return ClockReading(now=ctx.clock.now(), replay=replay, wall=time.time())


def advance_clock(ctx: Context, request: SetClock) -> ClockReading:
    """Advance a replay to a time, and answer when all that follows has happened."""
    if ctx.lockstep is None:
        raise Unavailable("only a running server can drive a replay. Start it: tournant up")
    ctx.lockstep.advance(request.now)
    return ClockReading(now=ctx.clock.now(), replay=True, wall=time.time())


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(name="status.get", method="GET", path="/status", request=Empty, response=Status, handler=get_status),
    Operation(name="clock.get", method="GET", path="/clock", request=Empty, response=ClockReading, handler=get_clock),
    Operation(
        name="clock.advance",
        method="POST",
        path="/clock",
        request=SetClock,
        response=ClockReading,
        handler=advance_clock,
    ),
)
