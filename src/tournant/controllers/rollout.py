"""The rollout controller: gathers evidence, asks the pure decision, and applies it in one transaction."""

import math
from dataclasses import dataclass

from tournant.domain.control import GatewayState, RevisionStatus
from tournant.domain.deployment import Deployment, Revision
from tournant.domain.pairing import LabelEvidence, judge_labels, pair_labels
from tournant.domain.predictions import Label, Segment
from tournant.domain.registry import ModelVersion
from tournant.domain.request_gates import StepCounts
from tournant.domain.rollout import Observation, Phase, Rollout, split_of
from tournant.domain.verdicts import Decision, Evidence, decide
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.services.gateways import live_gateways
from tournant.services.metric_checks import MetricChecks
from tournant.services.references import UNIT_SECONDS, metric_for
from tournant.services.rollouts import ask_for_approval, move_rollout, note_restored
from tournant.services.routing import OPEN_PHASES, routes_version

__all__ = ["RolloutController"]

_COMPARING = (Phase.SHADOW, Phase.CANARY)
_SCORE_DEVIATIONS = 4.0  # a number's range, for the bound on score shift


@dataclass(frozen=True, slots=True)
class _Judged:
    """What labels say and what it was computed from, so that an idle tick costs three counts and no file is read."""

    watermark: tuple[object, ...]
    evidence: LabelEvidence | None


class RolloutController:
    """Moves open rollouts. Ticking twice on the same evidence changes nothing; gateways that are gone count for nothing."""

    def __init__(self, ctx: Context) -> None:
        """Act as the controller in `ctx`."""
        self._ctx = ctx.acting_as("rollout controller")
        self._judged: dict[str, _Judged] = {}
        self._checks = MetricChecks(ctx.metrics)

    def tick(self) -> bool:
        """Decide every open rollout once, and tell whether anything changed."""
        with self._ctx.transactions.begin(write=False) as uow:
            rollouts = uow.find(Rollout, phase__in=OPEN_PHASES, order="started_at")
        self._judged = {rollout.id: self._judged[rollout.id] for rollout in rollouts if rollout.id in self._judged}
        self._checks.keep([rollout.id for rollout in rollouts])
        changed = [self._decide(rollout) for rollout in rollouts]
        restored = note_restored(self._ctx, live_gateways(self._ctx))
        return any(changed) or restored

    def busy(self) -> bool:
        """Tell whether a live gateway has yet to apply the newest routes, or to load or probe a revision."""
        with self._ctx.transactions.begin(write=False) as uow:
            version = routes_version(uow)
            candidates = [rollout.revision for rollout in uow.find(Rollout, phase__in=OPEN_PHASES)]
        return version > 0 and any(_works(gateway, version, candidates) for gateway in live_gateways(self._ctx))

    def _decide(self, rollout: Rollout) -> bool:
        decision = decide(rollout, self._gather(rollout), self._ctx.clock.now())
        return decision.rollout != rollout and self._apply(rollout, decision)

    def _apply(self, judged: Rollout, decision: Decision) -> bool:
        with self._ctx.transactions.begin() as uow:
            if uow.get(Rollout, judged.id, lock=True) != judged:
                return True  # steered by hand meanwhile: look again
            if decision.action == "hold":
                uow.save(decision.rollout)
                if decision.rollout.waits and not judged.waits:
                    uow.record(ask_for_approval(self._ctx, decision.rollout))
            else:
                move_rollout(self._ctx, uow, decision.rollout, action=decision.action, gates=decision.gates)
        return True

    def _gather(self, rollout: Rollout) -> Evidence:
        gateways = live_gateways(self._ctx)
        with self._ctx.transactions.begin(write=False) as uow:
            deployment = uow.get(Deployment, rollout.deployment)
            assert deployment
            found = uow.find(Observation, rollout=rollout.id, order="epoch")
            model = _model_version(uow, rollout.revision)
            version = routes_version(uow)
        role = "canary" if rollout.phase is Phase.CANARY else "shadow"
        stable = _observed(found, rollout.epoch, rollout.stable, "stable")
        kind = model.signature.output.kind if model else "number"
        metric = metric_for(deployment.config.monitors.metric, model)
        return Evidence(
            slo_p99_ms=deployment.config.slo_p99_ms,
            gateways=tuple(gateway.id for gateway in gateways),
            statuses=tuple(_statuses(gateways, rollout.revision, version)),
            stable=stable,
            candidate=_observed(found, rollout.epoch, rollout.revision, role),
            earlier=_earlier(rollout, found),
            labels=self._judge_labels(rollout, deployment, metric, relative=kind == "number"),
            metric=f"{metric} relative to stable's" if kind == "number" else metric,
            score_range=_score_range(kind, stable),
            probabilities=kind == "probability",
            checks=self._checks.gates(rollout, rollout.strategy.checks) if rollout.phase in _COMPARING else (),
        )

    def _judge_labels(
        self, rollout: Rollout, deployment: Deployment, metric: str, *, relative: bool
    ) -> LabelEvidence | None:
        if rollout.phase not in _COMPARING or not rollout.strategy.minimum_labels:
            return None
        with self._ctx.transactions.begin(write=False) as uow:
            watermark = _watermark(uow, rollout)
            known = self._judged.get(rollout.id)
            if known and known.watermark == watermark:
                return known.evidence
            since = rollout.started_at  # of the rollout: a pause restarts the step's clock, not its epoch
            segments = uow.find(Segment, deployment=rollout.deployment, registered_at__ge=since, order="start,digest")
            labels = uow.find(Label, deployment=rollout.deployment, received_at__ge=since, order="reference")
        evidence = None
        if segments and labels:
            slices = rollout.strategy.slices
            outcomes = self._ctx.predictions.outcomes(segments, labels, start=-math.inf, end=math.inf, inputs=slices)
            pairs = pair_labels(rollout, outcomes)
            unit = UNIT_SECONDS[deployment.config.monitors.unit]
            evidence = judge_labels(rollout, pairs, metric, unit_seconds=unit, relative=relative) if pairs else None
        self._judged[rollout.id] = _Judged(watermark, evidence)
        return evidence


def _watermark(uow: UnitOfWork, rollout: Rollout) -> tuple[object, ...]:
    """What changes when there are new segments or labels since the epoch began."""
    name, since = rollout.deployment, rollout.started_at
    newest = uow.find(Label, deployment=name, received_at__ge=since, order="-received_at", limit=1)
    return (
        rollout.epoch,
        uow.count(Segment, deployment=name, registered_at__ge=since),
        uow.count(Label, deployment=name, received_at__ge=since),
        newest[0].received_at if newest else 0.0,
    )


def _works(gateway: GatewayState, version: int, candidates: list[str]) -> bool:
    states = {status.revision: status.state for status in gateway.statuses}
    behind = gateway.routes_version != version
    return behind or "loading" in states.values() or any(candidate not in states for candidate in candidates)


def _statuses(gateways: list[GatewayState], revision: str, version: int) -> list[tuple[str, RevisionStatus]]:
    """What gateways say of a revision; that it is ready only from those that have applied the newest routes.

    Under older ones a gateway may hold it for another reason, as a permanent shadow, and not have probed it.
    """
    return [
        (gateway.id, status)
        for gateway in gateways
        for status in gateway.statuses
        if status.revision == revision and (gateway.routes_version == version or status.state == "failed")
    ]


def _observed(found: list[Observation], epoch: int, revision: str, role: str) -> Observation | None:
    wanted = (epoch, revision, role)
    return next((seen for seen in found if (seen.epoch, seen.revision, seen.role) == wanted), None)


def _earlier(rollout: Rollout, found: list[Observation]) -> tuple[StepCounts, ...]:
    """Give the counts of the comparing steps before this one that both revisions had requests in."""
    steps = []
    for epoch in range(rollout.epoch):
        phase, percent = split_of(rollout.strategy, epoch)
        role = "canary" if phase is Phase.CANARY else "shadow"
        stable = _observed(found, epoch, rollout.stable, "stable")
        candidate = _observed(found, epoch, rollout.revision, role)
        if phase in _COMPARING and stable and candidate:
            steps.append(StepCounts(share=percent / 100, stable=stable, candidate=candidate))
    return tuple(steps)


def _model_version(uow: UnitOfWork, revision_id: str) -> ModelVersion | None:
    revision = uow.get(Revision, revision_id)
    return uow.get(ModelVersion, revision.model_version) if revision else None


def _score_range(kind: str, stable: Observation | None) -> float:
    """Scores of a probability range over 1; those of a number over four standard deviations; others are not judged."""
    if kind == "probability":
        return 1.0
    if kind != "number" or stable is None or stable.rows < 2:
        return 0.0
    mean = stable.score_sum / stable.rows
    return _SCORE_DEVIATIONS * math.sqrt(max(stable.score_squares / stable.rows - mean * mean, 0.0))
