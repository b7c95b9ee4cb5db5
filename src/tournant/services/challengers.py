"""Challengers: training one in a retraining's job, and judging it against the champion."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tournant.domain.challenger import find_refusal, judge_challenger
from tournant.domain.data import DatasetVersion
from tournant.domain.deployment import Deployment, Revision
from tournant.domain.performance import losses
from tournant.domain.registry import ModelVersion
from tournant.domain.retraining import GateResult, Retraining, RetrainingPolicy
from tournant.errors import Invalid, NotFound
from tournant.ports import Columns
from tournant.services.context import Context
from tournant.services.pipelines import run_project, run_tests
from tournant.services.references import metric_for
from tournant.services.retraining import get_retraining, retraining_folder, unit_seconds
from tournant.services.vouching import vouch_for

__all__ = ["Scorer", "train_challenger"]

_ALL_ROWS = 2**31


class Scorer(Protocol):
    """Predicts rows with a registered model version, as it would be served."""

    def score(self, version: ModelVersion, rows: Columns) -> npt.NDArray[np.float64]:
        """Give one number a row: P(last class), or the value; NaN where the model gives none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contest:
    """What a challenger is trained and judged under."""

    deployment: Deployment
    policy: RetrainingPolicy
    champion: ModelVersion
    judging: DatasetVersion


def train_challenger(
    ctx: Context, retraining_id: str, scorer: Scorer, *, on_progress: Callable[[str], None] | None = None
) -> Retraining:
    """Run the deployment's project on the frozen data, register the challenger, judge it, and put all of it on record.

    Runs in a job of its own. Done again after a kill it finds the version that was registered, and one that is judged
    already stays as it is.
    """
    retraining = get_retraining(ctx, retraining_id)
    if retraining.gate is not None:
        return retraining
    contest = _read_contest(ctx, retraining)
    folder = retraining_folder(ctx, retraining.id) / "project"
    ctx.blobs.checkout(contest.deployment.project, folder)  # in place of what an earlier attempt left
    version = _find_registered(ctx, retraining) or _train(ctx, retraining, contest, folder, say=on_progress)
    tests = run_tests(ctx, folder, version.id, on_progress=on_progress)
    unproven = vouch_for(ctx, version, contest.deployment.config.require, say=on_progress)
    gate = _judge(ctx, contest, version, tests, scorer, unproven=unproven)
    return _record(ctx, retraining, version, gate)


def _read_contest(ctx: Context, retraining: Retraining) -> _Contest:
    with ctx.transactions.begin(write=False) as uow:
        deployment = uow.get(Deployment, retraining.deployment)
        stable = uow.get(Revision, deployment.stable) if deployment else None
        champion = uow.get(ModelVersion, stable.model_version) if stable else None
        judging = uow.get(DatasetVersion, retraining.gate_dataset_version)
    policy = deployment.config.retraining if deployment else None
    if deployment is None or champion is None or judging is None or policy is None:
        raise NotFound(f"deployment {retraining.deployment!r} has no retraining policy or champion any more")
    return _Contest(deployment=deployment, policy=policy, champion=champion, judging=judging)


def _find_registered(ctx: Context, retraining: Retraining) -> ModelVersion | None:
    """Give the version that an attempt which vanished later had registered."""
    with ctx.transactions.begin(write=False) as uow:
        versions = uow.find(ModelVersion, model=retraining.model, order="-number", limit=20)
    return next((v for v in versions if v.tags.get("retraining") == retraining.id), None)


def _train(
    ctx: Context, retraining: Retraining, contest: _Contest, folder: Path, *, say: Callable[[str], None] | None
) -> ModelVersion:
    result = run_project(
        ctx,
        folder,
        datasets={contest.policy.dataset: retraining.dataset_version},
        tags={"retraining": retraining.id},
        jobs=1,
        on_progress=say,
    )
    version = result.model_version
    if version is None or version.model != retraining.model:
        registered = version.id if version else "no model"
        raise Invalid(f"the project registered {registered}, not a version of {retraining.model!r}; see `model:` in it")
    return version


def _judge(
    ctx: Context, contest: _Contest, version: ModelVersion, tests: dict[str, bool], scorer: Scorer, *, unproven: str
) -> GateResult:
    monitors = contest.deployment.config.monitors
    rows = _read_rows(ctx, contest.judging)
    units = (rows["event_time"] // unit_seconds(monitors)).astype(np.int64)
    refusal = unproven or find_refusal(
        tests,
        champion=contest.champion.conversion,
        challenger=version.conversion,
        present=len(np.unique(units)),
        wanted=contest.policy.gate_units,
    )
    if refusal:
        result = GateResult(passed=False, reason=refusal)
    else:
        metric = metric_for(monitors.metric, contest.champion)
        labels = rows[contest.deployment.config.labels.column].astype(np.float64)
        champion, challenger = (
            losses(metric, scorer.score(competitor, rows), labels) for competitor in (contest.champion, version)
        )
        result = judge_challenger(contest.policy, champion, challenger, units, metric=metric)
    return replace(result, tests=tests, champion_version=contest.champion.id, challenger_version=version.id)


def _read_rows(ctx: Context, version: DatasetVersion) -> Columns:
    (file,) = ctx.blobs.tree(version.digest).files.values()
    return ctx.predictions.sample(ctx.blobs.path(file.digest), _ALL_ROWS)


def _record(ctx: Context, retraining: Retraining, version: ModelVersion, gate: GateResult) -> Retraining:
    verdict = "passed" if gate.passed else "rejected"
    with ctx.transactions.begin() as uow:
        current = uow.get(Retraining, retraining.id, lock=True)
        registered = uow.get(ModelVersion, version.id, lock=True)
        assert current and registered  # neither is ever deleted
        judged = replace(current, run=version.run, challenger=version.id, gate=gate)
        uow.save(judged)
        uow.save(replace(registered, tags={**registered.tags, "gate": verdict, "gate_reason": gate.reason}))
        uow.record(
            ctx.event(
                "retraining.judged",
                f"deployment/{retraining.deployment}",
                f"{version.id} against {gate.champion_version}: {verdict}. {gate.reason}",
                retraining=retraining.id,
                model_version=version.id,
            )
        )
    return judged
