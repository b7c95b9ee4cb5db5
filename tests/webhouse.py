"""A realistic house for the dashboard's tests: thirty days of four deployments, written through the records.

`fraud` fails and had a rollback, `churn` is in a canary, `eta` is healthy and renews itself, `support` gets no labels.
Everything is computed from the indices, so that two runs give the same pages.
"""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.domain.alerts import Alert, AlertKind, AlertState, Monitor, Severity
from tournant.domain.control import Event, GatewayState
from tournant.domain.data import Dataset, DatasetVersion
from tournant.domain.deployment import Deployment, DeploymentConfig, LabelConfig, MonitorConfig, Revision, RevisionState
from tournant.domain.environment import Environment
from tournant.domain.predictions import Traffic
from tournant.domain.profile import ColumnProfile, ReferenceProfile, WindowProfile
from tournant.domain.registry import (
    AliasMove,
    AliasMoveState,
    Column,
    ColumnType,
    Conversion,
    ConversionStatus,
    ModelAlias,
    ModelVersion,
    Output,
    RegisteredModel,
    Signature,
)
from tournant.domain.retraining import GateResult, Retraining, RetrainingPolicy, RetrainingState
from tournant.domain.rollout import Gate, Observation, Phase, Rollout, RolloutDecision, RolloutStrategy, Verdict
from tournant.domain.tracking import Metric, Run, RunStatus, StepRun
from tournant.ports import Transactions
from tournant.services.context import Context

DAY = 86_400.0
NOW = 1_384_329_600.0 + 0.61 * DAY  # 13 November 2013, 22:38 UTC
START = math.floor(NOW / DAY) * DAY - 30 * DAY
FORGED = "<script>alert('x')</script>"


@dataclass(frozen=True)
class Plan:
    """One deployment of the house: loss by day, which day something happened, traffic."""

    name: str
    level: float
    rise: float  # of the loss a day, over the last ten days
    per_hour: int
    labels: bool = True
    shift: float = 0.0  # of the first column, at the end


PLANS = (
    Plan("fraud", 0.31, 0.011, 900, shift=1.6),
    Plan("churn", 0.46, 0.0, 320),
    Plan("eta", 0.52, 0.0004, 1400),
    Plan("support", 0.61, 0.0, 40, labels=False),
)


def ident(kind: str, number: int) -> str:
    """Give a stable id of 32 digits."""
    return f"00{kind.encode().hex():0<18.18}{number:012d}"  # sorts before ids made now


def wave(i: int, k: int = 1) -> float:
    """A deterministic wobble in [-1, 1]."""
    return math.sin(i * 2.399 * k + k)


def furnished_copy(template: Path, target: Path) -> Path:
    """Copy an empty database and furnish the copy; give its path."""
    shutil.copyfile(template, target)
    engine = create_engine(f"sqlite:///{target}")
    furnish(SqlTransactions(engine))
    engine.dispose()
    return target


@contextmanager
def opened(context: Context, clock: object, furnished: Path, target: Path) -> Iterator[Context]:
    """Give a context on a copy of a furnished database, at the time of its last day."""
    clock.time = NOW  # type: ignore[attr-defined]
    shutil.copyfile(furnished, target)
    engine = create_engine(f"sqlite:///{target}")
    yield replace(context, transactions=SqlTransactions(engine))
    engine.dispose()


def furnish(transactions: Transactions) -> None:
    """Write the whole house."""
    with transactions.begin() as uow:
        for record in (*_shared(), *(r for plan in PLANS for r in _deployment(plan))):
            if isinstance(record, Run):
                uow.runs.add(record)
            elif isinstance(record, Metric):
                uow.runs.log(record.run, metrics=[record])
            else:
                uow.save(record)
        for record in (*_rollouts(), *_alerts(), *_retrainings(), *_events()):
            uow.save(record)


def _shared() -> list[object]:
    lock = "numpy==2.4.0 --hash=sha256:0\nscikit-learn==1.8.0 --hash=sha256:1\n"
    return [
        Environment(digest="e" * 64, python="3.11", lock=lock, created_at=START),
        GatewayState(id="g1", url="http://127.0.0.1:1", started_at=START, seen_at=NOW, routes_version=12, sequence=900),
    ]


def _deployment(plan: Plan) -> list[object]:
    versions = [v for n in (1, 2, 3) for v in _version(plan, n)]
    config = DeploymentConfig(
        slo_p99_ms=100.0,
        labels=LabelConfig(column="label", delay_seconds=DAY),
        rollout=RolloutStrategy(
            canary_percents=(5.0, 25.0, 50.0),
            hold_seconds=DAY,
            minimum_labels=1500,
            approval="steps" if plan.name == "churn" else "none",
        ),
        monitors=MonitorConfig(window=7),
        retraining=RetrainingPolicy(dataset=plan.name, triggers=("performance", "drift")) if plan.labels else None,
    )
    states = {1: RevisionState.RETIRED, 2: RevisionState.STABLE, 3: RevisionState.REJECTED}
    if plan.name == "churn":
        states[3] = RevisionState.CANDIDATE
    if plan.name == "eta":
        states |= {2: RevisionState.RETIRED, 3: RevisionState.STABLE}
    stable = 3 if plan.name == "eta" else 2
    numbers = (1, 2) if plan.name == "support" else (1, 2, 3)
    revisions = [
        Revision(
            id=f"{plan.name}/{n}",
            deployment=plan.name,
            number=n,
            model_version=f"{plan.name}@{n}",
            state=states[n],
            created_at=START + 8 * n * DAY,
        )
        for n in numbers
    ]
    deployment = Deployment(
        name=plan.name,
        config=config,
        created_at=START,
        stable=f"{plan.name}/{stable}",
        shadows=(f"{plan.name}/1",) if plan.name == "eta" else (),
    )
    return [*versions, deployment, *revisions, *_profiles(plan, stable), *_traffic(plan, stable), *_monitors(plan)]


COLUMNS = ("amount", "hour", "merchant_country", "distance", "age_days", "channel")


def _version(plan: Plan, n: int) -> list[object]:
    made = START + (8 * n - 1) * DAY
    run_id = ident(plan.name, n)
    dataset = f"{plan.name}@{n}"
    types = [ColumnType.STRING if c in ("merchant_country", "channel") else ColumnType.NUMBER for c in COLUMNS]
    run = Run(
        id=run_id,
        experiment="Default",
        name=f"{plan.name} train {n}" if n > 1 else f"{plan.name} {FORGED}",
        status=RunStatus.SUCCESSFUL,
        started_at=made - 300,
        ended_at=made,
        actor="ada",
        params={"max_iter": str(100 * n), "learning_rate": "0.05", "seed": "7"},
        datasets=(dataset,),
        code="c" * 64,
        commit=f"{n}a7f3c9" * 5,
        environment="e" * 64,
    )
    steps = [
        StepRun(
            run=run_id,
            step=step,
            position=i,
            status=RunStatus.SUCCESSFUL,
            cache_key=f"{i}b" * 32,
            cached=n == 2 and step == "prepare",
            started_at=made - 300 + 90 * i,
            ended_at=made - 220 + 90 * i,
            exit_code=0,
            outs={"model" if step == "train" else f"build/{step}": "d" * 64},
        )
        for i, step in enumerate(("prepare", "train", "evaluate"))
    ]
    reached = {"log_loss": plan.level - 0.004 * n, "auroc": 0.8 + 0.01 * n, "rows": 40_000.0 * n}
    curve = [Metric(run=run_id, key=key, step=0, time=made, value=value) for key, value in reached.items()]
    curve += [
        Metric(run=run_id, key="loss", step=i, time=made, value=0.7 * math.exp(-i / 30) + plan.level)
        for i in range(100)
        if n == 2
    ]
    return [
        Dataset(name=plan.name, created_at=START, path=f"data/{plan.name}.parquet"),
        DatasetVersion(
            id=dataset,
            dataset=plan.name,
            number=n,
            digest=f"{n}d" * 32,
            files=1,
            size_bytes=4_200_000 * n,
            created_at=made - 400,
            source="pipeline" if n == 1 else "labelled prediction log",
            details={"rows": 40_000.0 * n},
        ),
        run,
        *steps,
        *curve,
        RegisteredModel(name=plan.name, protected=("champion",), created_at=START),
        ModelVersion(
            id=f"{plan.name}@{n}",
            model=plan.name,
            number=n,
            digest=f"{n}f" * 32,
            flavor="sklearn",
            entry="model.pkl",
            predict="predict_proba",
            signature=Signature(
                inputs=tuple(Column(name=c, type=t) for c, t in zip(COLUMNS, types, strict=True)),
                output=Output(kind="probability", classes=("0", "1")),
            ),
            example=({"amount": 12.5, "merchant_country": "FR"},),
            environment="e" * 64,
            conversion=Conversion(
                status=ConversionStatus.SUCCESSFUL if n < 3 else ConversionStatus.REJECTED,
                digest="0" * 64,
                max_difference=4e-7 if n < 3 else 0.52,
                tolerance=1e-4,
                rows=2000,
            ),
            created_at=made,
            run=run_id,
            code="c" * 64,
            commit=f"{n}a7f3c9" * 5,
            datasets=(dataset,),
            metrics=reached,
            actor="ada",
        ),
        ModelAlias(model=plan.name, alias="champion", version=2, moved_at=made),
        AliasMove(
            id=ident("alias", PLANS.index(plan)),
            model=plan.name,
            alias="champion",
            version=2,
            before=1,
            state=AliasMoveState.MADE,
            asked_at=made,
            actor="ada",
            reason="it was promoted",
            decided_at=made + 600,
            decided_by="grace",
        ),
        ReferenceProfile(
            model_version=f"{plan.name}@{n}",
            unit="day",
            created_at=made,
            rows=4000,
            units=tuple(_columns(plan, i, 0.0) for i in range(10)),
            unit_losses=tuple(plan.level + 0.01 * wave(i) for i in range(10)),
            loss=plan.level,
        ),
    ]


def _columns(plan: Plan, day: int, shift: float) -> dict[str, ColumnProfile]:
    profiles = {}
    for k, name in enumerate(COLUMNS):
        moved = shift if k in (0, 2) else 0.0  # amount and merchant_country
        weights = [math.exp(-0.5 * ((i - 4.5 - moved) / 2.2) ** 2) * (1 + 0.06 * wave(day, i + k)) for i in range(10)]
        counts = [round(400 * w / sum(weights)) for w in weights]
        if name in ("merchant_country", "channel"):
            names = ("FR", "DE", "IT", "ES", "US", "GB", "NL", "BE", "PT", "PL")
            categories = dict(zip(names, counts, strict=True))
            profiles[name] = ColumnProfile(type="string", rows=400, missing=2, categories=categories)
        else:
            edges = tuple(float(10 * i) for i in range(1, 10))
            profiles[name] = ColumnProfile(type="number", rows=400, missing=1, edges=edges, counts=tuple(counts))
    return profiles


def _profiles(plan: Plan, stable: int) -> list[WindowProfile]:
    found = []
    for day in range(31):
        start = START + day * DAY
        revision = 1 if day < 16 else 2 if day < 24 or stable == 2 else 3
        roles = {revision, *((1,) if plan.name == "eta" else ()), *((3,) if plan.name == "churn" and day >= 28 else ())}
        for n in sorted(roles):
            late = max(0, day - 20) * plan.rise + (0.02 if plan.name == "eta" and n == 1 else 0.0)
            loss = plan.level + late + 0.012 * wave(day, n)
            rows = plan.per_hour * 24
            labelled = rows if plan.labels and day < 29 else 0
            shift = plan.shift * max(0, day - 20) / 10
            found.append(
                WindowProfile(
                    id=f"{plan.name}/{n}/{start:.0f}",
                    deployment=plan.name,
                    revision=f"{plan.name}/{n}",
                    model_version=f"{plan.name}@{n}",
                    unit_start=start,
                    unit_end=start + DAY,
                    rows=rows,
                    labelled=labelled,
                    label_sum=0.2 * labelled,
                    loss_sum=loss * labelled,
                    score_sum=0.2 * rows,
                    labelled_bins=tuple([labelled // 100] * 100) if labelled else (),
                    positive_bins=tuple(int(labelled / 100 * (i / 100) ** 2) for i in range(100)) if labelled else (),
                    columns=_columns(plan, day, shift),
                )
            )
    return found


def _traffic(plan: Plan, stable: int) -> list[Traffic]:
    rows = []
    for hour in range(24 * 10):
        bucket = math.floor(NOW / 3600) * 3600 - (24 * 10 - 1 - hour) * 3600
        canary = plan.name == "churn" and bucket >= NOW - 2 * DAY
        share = 0.25 if canary and bucket >= NOW - 0.8 * DAY else 0.05 if canary else 0.0
        rows.append(
            _served(plan.name, f"{plan.name}/{stable}", "stable", bucket, int(plan.per_hour * (1 - share)), 1.0)
        )
        if share:
            rows.append(_served(plan.name, f"{plan.name}/3", "canary", bucket, int(plan.per_hour * share), 1.15))
        if plan.name == "eta":
            rows.append(_served(plan.name, "eta/1", "shadow", bucket, plan.per_hour, 1.4))
    return rows


def _served(deployment: str, revision: str, role: str, bucket: float, requests: int, slow: float) -> Traffic:
    slower = int(requests * (0.04 + 0.02 * (1 + wave(int(bucket // 3600)))) * slow)
    return Traffic(
        deployment=deployment,
        revision=revision,
        role=role,
        bucket=bucket,
        requests=requests,
        errors=1 if requests > 500 else 0,
        over_slo=slower // 20,
        latency_sum_ms=14.0 * requests * slow,
        histogram={"10": requests // 2, "20": requests // 2 - slower, "50": slower - slower // 4, "75": slower // 4},
    )


def _monitors(plan: Plan) -> list[Monitor]:
    status = "alert" if plan.name == "fraud" else "ok" if plan.labels else "no_labels"
    evaluated = START + 29 * DAY
    return [
        Monitor(
            id=f"{plan.name}/performance",
            deployment=plan.name,
            kind=AlertKind.PERFORMANCE,
            status=status,
            evaluated_to=evaluated,
            value=plan.level + 0.054 if status == "alert" else plan.level + 0.004 if plan.labels else None,
            limit=plan.level + 0.01,
            reason="" if plan.labels else "no label in 30 days",
        ),
        Monitor(
            id=f"{plan.name}/drift",
            deployment=plan.name,
            kind=AlertKind.DRIFT,
            status="alert" if plan.shift else "ok",
            evaluated_to=START + 30 * DAY,
            value=0.21 if plan.shift else 0.06,
            limit=0.2,
            reason="amount (PSI 0.21), merchant_country (PSI 0.21) moved" if plan.shift else "no column moved",
            state={"columns": [{"column": c, "drifted": True, "shift": "40 to 50: 9% -> 18%"} for c in COLUMNS[:3:2]]}
            if plan.shift
            else {},
        ),
    ]


def _gates(failing: bool = False, labels: int = 1500) -> tuple[Gate, ...]:
    loss = Gate(
        name="loss",
        verdict=Verdict.FAILED if failing else Verdict.WAITING if labels < 1500 else Verdict.SUCCESSFUL,
        stable=0.458,
        candidate=0.531 if failing else 0.452,
        difference=0.073 if failing else -0.006,
        lower=0.041 if failing else -0.031,
        upper=0.105 if failing else 0.019,
        limit=0.02,
        samples=labels,
        minimum=1500,
        unit="loss",
    )
    errors = Gate(
        name="errors",
        verdict=Verdict.SUCCESSFUL,
        stable=0.0011,
        candidate=0.0013,
        difference=0.0002,
        lower=-0.0003,
        upper=0.0007,
        limit=0.01,
        samples=31_806,
        minimum=200,
        unit="share",
    )
    latency = Gate(
        name="latency",
        verdict=Verdict.SUCCESSFUL,
        candidate=0.002,
        limit=0.01,
        samples=31_806,
        minimum=200,
        unit="share",
        reason="0.2 % of answers took longer than 100 ms",
    )
    shift = Gate(
        name="score_shift",
        verdict=Verdict.SUCCESSFUL,
        stable=0.21,
        candidate=0.23,
        difference=0.02,
        lower=0.01,
        upper=0.03,
        limit=0.25,
        samples=31_806,
        minimum=200,
        unit="score",
    )
    return (errors, latency, shift, loss)


def _rollout(
    name: str, n: int, phase: Phase, started: float, ended: float | None, step: int, **rest: object
) -> list[object]:
    strategy = RolloutStrategy(
        canary_percents=(5.0, 25.0, 50.0), hold_seconds=DAY, shadow_hold_seconds=DAY, minimum_labels=1500
    )
    gates = rest.pop("gates", _gates())
    base: dict[str, object] = {
        "id": ident(f"r{name}", n),
        "deployment": name,
        "revision": f"{name}/{n}",
        "stable": f"{name}/{n - 1}" if n > 1 else "",
        "strategy": strategy,
        "phase": phase,
        "step": step,
        "epoch": step + 3,
        "started_at": started,
        "step_started_at": started + 0.6 * DAY * step,
        "ended_at": ended,
        "gates": gates,
        "reason": rest.pop("reason", "all gates passed at every step"),
        "actor": "retraining" if n > 1 else "ada",
    }
    rollout = Rollout(**base)  # type: ignore[arg-type]
    moves = [(Phase.PENDING, "start", 0.0), (Phase.WARMING, "advance", 0.0), (Phase.SHADOW, "advance", 0.0)]
    moves += [(Phase.CANARY, "advance", percent) for percent in strategy.canary_percents[:step]]
    action = {Phase.PROMOTED: "promote", Phase.FAILED: "fail", Phase.ABORTED: "abort"}.get(phase)
    times = [started, started + 60, started + 120, *(started + 0.6 * DAY * (i + 1) for i in range(step))]
    decisions = [
        RolloutDecision(
            id=ident(f"d{name}{n}", i),
            rollout=rollout.id,
            number=i + 1,
            time=time,
            phase=p,
            action=a,
            weight_percent=weight,
            reason="gateways load the candidate" if not i else "all gates passed and the hold is over",
        )
        for i, ((p, a, weight), time) in enumerate(zip(moves, times, strict=True))
    ]
    if action and ended:
        decisions.append(
            RolloutDecision(
                id=ident(f"d{name}{n}", 99),
                rollout=rollout.id,
                number=len(decisions) + 1,
                time=ended,
                phase=phase,
                action=action,
                weight_percent=rollout.canary_percent,
                reason=rollout.reason,
                gates=rollout.gates,
            )
        )
    counts = [
        Observation(
            rollout=rollout.id,
            epoch=4,
            revision=rollout.stable,
            role="stable",
            requests=23_900,
            errors=26,
            latency_sum_ms=3e5,
        ),
        Observation(
            rollout=rollout.id,
            epoch=4,
            revision=rollout.revision,
            role="canary",
            requests=7906,
            errors=10,
            latency_sum_ms=1e5,
        ),
    ]
    return [rollout, *decisions, *counts]


def _rollouts() -> list[object]:
    found: list[object] = []
    for plan in PLANS:
        first, second = START + 8 * DAY, START + 13 * DAY
        found += _rollout(plan.name, 1, Phase.PROMOTED, first, first + 0.2 * DAY, 0)
        found += _rollout(plan.name, 2, Phase.PROMOTED, second, START + 16 * DAY, 3)
    failed = "loss rises by 0.073 (at least 0.041), more than 0.02"
    found += _rollout(
        "fraud", 3, Phase.FAILED, NOW - 12 * DAY, NOW - 10.5 * DAY, 1, gates=_gates(failing=True), reason=failed
    )
    waiting = "at 25 %: loss has 412 of 1,500 labels"
    found += _rollout("churn", 3, Phase.CANARY, NOW - 2 * DAY, None, 2, gates=_gates(labels=412), reason=waiting)
    found += _rollout("eta", 3, Phase.PROMOTED, START + 22 * DAY, START + 24 * DAY, 3)
    return found


def _alerts() -> list[Alert]:
    return [
        Alert(
            id=ident("alert", 1),
            deployment="fraud",
            monitor="fraud/performance",
            kind=AlertKind.PERFORMANCE,
            severity=Severity.CRITICAL,
            state=AlertState.OPEN,
            opened_at=NOW - 3.2 * DAY,
            value=0.412,
            limit=0.32,
            summary="log loss 0.412 is above its reference 0.310",
            details={"units": 29, "e_value": 812.0},
            retraining=ident("retraining", 3),
        ),
        Alert(
            id=ident("alert", 2),
            deployment="fraud",
            monitor="fraud/drift",
            kind=AlertKind.DRIFT,
            severity=Severity.INFO,
            state=AlertState.OPEN,
            opened_at=NOW - 5.1 * DAY,
            value=0.41,
            limit=0.2,
            summary="2 of 6 columns drifted, led by amount",
            details={"columns": {"amount": 0.41}},
        ),
        Alert(
            id=ident("alert", 3),
            deployment="eta",
            monitor="eta/performance",
            kind=AlertKind.PERFORMANCE,
            severity=Severity.CRITICAL,
            state=AlertState.CLOSED,
            opened_at=START + 19 * DAY,
            closed_at=START + 25 * DAY,
            value=0.56,
            limit=0.53,
            summary="log loss 0.560 is above its reference 0.520",
        ),
        Alert(
            id=ident("alert", 4),
            deployment="support",
            monitor="support/liveness",
            kind=AlertKind.LIVENESS,
            severity=Severity.INFO,
            state=AlertState.OPEN,
            opened_at=NOW - 20 * DAY,
            summary="no label has arrived in 20 days",
        ),
    ]


def _retrainings() -> list[Retraining]:
    passed = GateResult(
        passed=True,
        reason="challenger is better on 14 of 14 later days",
        metric="log_loss",
        champion=0.534,
        challenger=0.521,
        difference=-0.013,
        lower=-0.019,
        upper=-0.007,
        units=14,
        rows=42_310,
        tests={"beats_base_rate": True},
    )
    refused = GateResult(
        passed=False,
        reason="not better: the interval reaches above 0",
        metric="log_loss",
        champion=0.31,
        challenger=0.308,
        difference=-0.002,
        lower=-0.009,
        upper=0.005,
        units=14,
        rows=39_002,
    )
    common = {"trigger": "performance", "reason": "log loss above its reference"}
    return [
        Retraining(
            id=ident("retraining", 1),
            deployment="eta",
            model="eta",
            state=RetrainingState.PROMOTED,
            started_at=START + 21 * DAY,
            ended_at=START + 24 * DAY,
            dataset_version="eta@3",
            run=ident("eta", 3),
            challenger="eta@3",
            gate=passed,
            rollout=ident("reta", 3),
            **common,
        ),
        Retraining(
            id=ident("retraining", 2),
            deployment="fraud",
            model="fraud",
            state=RetrainingState.REJECTED,
            started_at=NOW - 9 * DAY,
            ended_at=NOW - 8.9 * DAY,
            challenger="fraud@3",
            gate=refused,
            **common,
        ),
        Retraining(
            id=ident("retraining", 3),
            deployment="fraud",
            model="fraud",
            state=RetrainingState.AWAITING_APPROVAL,
            started_at=NOW - 0.3 * DAY,
            challenger="fraud@3",
            gate=passed,
            alert=ident("alert", 1),
            **common,
        ),
    ]


def _events() -> list[Event]:
    happened = [
        (
            NOW - 12 * DAY,
            "rollout.started",
            "deployment/fraud",
            "retraining",
            "fraud/3: gateways load the candidate",
            "rfraud",
            3,
        ),
        (NOW - 10.5 * DAY, "rollout.failed", "deployment/fraud", "system", "fraud/3: loss rises by 0.073", "rfraud", 3),
        (
            NOW - 3.2 * DAY,
            "alert.opened",
            "deployment/fraud",
            "system",
            "log loss 0.412 is above its reference 0.310",
            "",
            0,
        ),
        (
            NOW - 2 * DAY,
            "rollout.started",
            "deployment/churn",
            "retraining",
            "churn/3: gateways load the candidate",
            "rchurn",
            3,
        ),
        (
            NOW - 0.8 * DAY,
            "rollout.advanced",
            "deployment/churn",
            "system",
            "churn/3: all gates passed at 5 %",
            "rchurn",
            3,
        ),
        (NOW - 0.3 * DAY, "retraining.gated", "deployment/fraud", "system", "fraud@3 waits for approval", "", 0),
        (NOW - 0.2 * DAY, "model.aliased", "model/churn@2", "ada", "churn@champion is version 2", "", 0),
    ]
    return [
        Event(
            id=ident("event", i),
            time=time,
            recorded_at=time,
            kind=kind,
            subject=subject,
            actor=actor,
            summary=summary,
            data={"rollout": ident(rollout, n)} if rollout else {},
        )
        for i, (time, kind, subject, actor, summary, rollout, n) in enumerate(happened)
    ]


def addresses() -> tuple[str, ...]:
    """Every page of the house."""
    return (
        "/",
        "/?since=24h",
        "/?since=30d",
        "/models",
        "/models/fraud",
        "/models/fraud/compare",
        "/models/fraud/compare?versions=3,1",
        "/models/fraud/versions/1",
        "/models/fraud/versions/3",
        "/runs",
        "/runs?status=successful",
        f"/runs/{ident('churn', 2)}",
        f"/runs/{ident('churn', 2)}/artifacts",
        f"/runs/compare?ids={ident('churn', 1)},{ident('churn', 2)}",
        "/datasets",
        "/datasets/eta",
        "/datasets/eta@3",
        "/deployments",
        *(f"/deployments/{plan.name}" for plan in PLANS),
        f"/deployments/fraud/rollouts/{ident('rfraud', 3)}",
        f"/deployments/eta/rollouts/{ident('reta', 3)}",
        "/monitors",
        *(f"/monitors/{plan.name}" for plan in PLANS),
        "/monitors/eta?since=7d",
        "/alerts",
        "/alerts?state=open",
        f"/alerts/{ident('alert', 1)}",
        f"/alerts/{ident('alert', 3)}",
        "/retrainings",
        "/timeline",
        "/timeline?kind=rollout",
    )
