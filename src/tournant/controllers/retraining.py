"""The retraining controller: trigger → freeze → train → gate → roll out, one idempotent step at a time."""

import shutil
import sys

from tournant.domain.deployment import Deployment, Revision
from tournant.domain.registry import ModelAlias
from tournant.domain.retraining import Retraining, RetrainingState, Trigger
from tournant.domain.rollout import Phase, Rollout
from tournant.errors import Conflict, Overloaded, TournantError, Unavailable
from tournant.ports import Job, JobStatus
from tournant.services.aliases import set_alias
from tournant.services.context import Context
from tournant.services.deployments import deploy
from tournant.services.freezing import freeze_data
from tournant.services.retraining import (
    find_active,
    find_due,
    get_retraining,
    move_retraining,
    retraining_folder,
    start_retraining,
)
from tournant.services.routing import find_open_rollout

__all__ = ["RetrainingController"]

JOB_MODULE = "tournant.bootstrap.retraining_job"
_STOPPED = (130, 143)  # by SIGINT or SIGTERM: somebody stopped tournant, the job did not fail
ATTEMPTS = 2  # a job that vanished (a machine that died) is tried once more
NICENESS = 10
_LOG_LINES = 15
_State = RetrainingState


class RetrainingController:
    """Moves every retraining as far as it can go now; ticking again, or elsewhere after a kill, changes nothing."""

    def __init__(self, ctx: Context) -> None:
        """Work in the house `ctx`."""
        self._ctx = ctx
        self._steps = {
            _State.PENDING: self._begin,
            _State.FREEZING: self._freeze,
            _State.TRAINING: self._train,
            _State.GATING: self._gate,
            _State.ROLLING_OUT: self._roll_out,
        }

    def tick(self) -> bool:
        """Take one step in each retraining and start those that are due; tell whether anything changed."""
        moved = [self._advance(retraining) for retraining in find_active(self._ctx)]
        started = [self._start(deployment, trigger) for deployment, trigger in find_due(self._ctx)]
        return any((*moved, *started))

    def busy(self) -> bool:
        """Tell whether a training job runs: a lockstep replay waits for it."""
        return any(
            retraining.state is _State.TRAINING and self._ctx.executor.status(retraining.job).state == "running"
            for retraining in find_active(self._ctx)
        )

    def _start(self, deployment: Deployment, trigger: Trigger) -> bool:
        try:
            start_retraining(
                self._ctx, deployment.name, reason=trigger.reason, trigger=trigger.kind, alert=trigger.alert
            )
        except Conflict:  # somebody started one since it was found due
            return False
        return True

    def _advance(self, retraining: Retraining) -> bool:
        step = self._steps.get(retraining.state)
        if step is None:  # awaiting approval
            return False
        try:
            return step(retraining)
        except (Unavailable, Overloaded):  # may pass: the control loop waits and ticks again
            raise
        except TournantError as exc:
            return self._end(retraining, _State.FAILED, exc.message)

    def _begin(self, retraining: Retraining) -> bool:
        summary = f"freezing data for {retraining.model}"
        return self._move(retraining, _State.FREEZING, "began", summary)

    def _freeze(self, retraining: Retraining) -> bool:
        frozen = freeze_data(self._ctx, retraining)
        return self._move(
            retraining,
            _State.TRAINING,
            "froze_dataset",
            frozen.summary,
            dataset_version=frozen.dataset_version,
            gate_dataset_version=frozen.gate_dataset_version,
            job=_job_id(retraining, 1),
            attempts=1,
        )

    def _train(self, retraining: Retraining) -> bool:
        status = self._ctx.executor.status(retraining.job)
        if status.state == "unknown":
            self._ctx.executor.start(self._job(retraining))
            return True
        if status.state == "running":
            return False
        retraining = get_retraining(self._ctx, retraining.id)  # the job has written since this was read
        if retraining.gate is not None:
            summary = f"{retraining.challenger or retraining.model} trained on {retraining.dataset_version}"
            return self._move(retraining, _State.GATING, "trained", summary)
        if _vanished(status) and retraining.attempts < ATTEMPTS:
            number = retraining.attempts + 1
            summary = f"the training job vanished; attempt {number} of {ATTEMPTS}"
            job = _job_id(retraining, number)
            return self._move(retraining, _State.TRAINING, "restarted", summary, job=job, attempts=number)
        return self._end(retraining, _State.FAILED, self._failure(retraining, status))

    def _job(self, retraining: Retraining) -> Job:
        settings = self._ctx.settings
        folder = retraining_folder(self._ctx, retraining.id)
        folder.mkdir(parents=True, exist_ok=True)
        return Job(
            id=retraining.job,
            # -P: a project file named like a module must not shadow it; the database's URL may hold a password
            command=[
                sys.executable,
                "-P",
                "-m",
                JOB_MODULE,
                "--home",
                str(settings.home),
                "--retraining",
                retraining.id,
            ],
            cwd=folder,
            log=folder / "job.log",
            env={"TOURNANT_DATABASE": settings.database} if settings.database else {},
            threads=1,
            niceness=NICENESS,
        )

    def _failure(self, retraining: Retraining, status: JobStatus) -> str:
        log = retraining_folder(self._ctx, retraining.id) / "job.log"
        lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []
        how = "vanished" if status.exit_code is None else f"ended with {status.exit_code}"
        return "\n".join([f"the training job {how}; its log is {log.name} of retraining {retraining.id}:", *lines])

    def _gate(self, retraining: Retraining) -> bool:
        gate = retraining.gate
        assert gate is not None  # a retraining only leaves TRAINING with one
        if not gate.passed:
            return self._end(retraining, _State.REJECTED, gate.reason)
        self._name(retraining, "challenger")
        manual = self._policy_approval(retraining) == "manual"
        to = _State.AWAITING_APPROVAL if manual else _State.ROLLING_OUT
        summary = f"{retraining.challenger} passed the gate: {gate.reason}"
        return self._move(retraining, to, "passed_gate", summary)

    def _policy_approval(self, retraining: Retraining) -> str:
        with self._ctx.transactions.begin(write=False) as uow:
            deployment = uow.get(Deployment, retraining.deployment)
        policy = deployment.config.retraining if deployment else None
        return policy.approval if policy else "manual"  # the policy was removed meanwhile: ask

    def _roll_out(self, retraining: Retraining) -> bool:
        rollout = self._find_rollout(retraining)
        if rollout is None:
            if self._is_occupied(retraining):  # another candidate is on its way: it is not ours to supersede
                return False
            deploy(self._ctx, retraining.deployment, retraining.challenger, reason=f"retraining: {retraining.reason}")
            rollout = self._find_rollout(retraining)
        if rollout is None:
            raise Conflict(f"{retraining.challenger} is deployed already, without a rollout")
        if retraining.rollout != rollout.id:
            summary = f"{retraining.challenger} rolls out as {rollout.revision}"
            return self._move(retraining, _State.ROLLING_OUT, "rolling_out", summary, rollout=rollout.id)
        if not rollout.phase.final:
            return False
        if rollout.phase is Phase.PROMOTED:
            self._name(retraining, "champion")
            return self._end(retraining, _State.PROMOTED, f"{rollout.revision} is stable: {rollout.reason}")
        return self._end(retraining, _State.REJECTED, f"the rollout was {rollout.phase.value}: {rollout.reason}")

    def _find_rollout(self, retraining: Retraining) -> Rollout | None:
        """Give the challenger's rollout, also one whose start was not noted before a kill."""
        with self._ctx.transactions.begin(write=False) as uow:
            if retraining.rollout:
                return uow.get(Rollout, retraining.rollout)
            revisions = uow.find(Revision, deployment=retraining.deployment, model_version=retraining.challenger)
            ids = [revision.id for revision in revisions]
            found = uow.find(Rollout, revision__in=ids, order="-started_at,-id", limit=1) if ids else []
        return found[0] if found else None

    def _is_occupied(self, retraining: Retraining) -> bool:
        with self._ctx.transactions.begin(write=False) as uow:
            return find_open_rollout(uow, retraining.deployment) is not None

    def _name(self, retraining: Retraining, alias: str) -> None:
        number = int(retraining.challenger.partition("@")[2])
        with self._ctx.transactions.begin(write=False) as uow:
            held = uow.get(ModelAlias, retraining.model, alias)
        if held is None or held.version != number:
            set_alias(self._ctx, retraining.model, alias, number)

    def _end(self, retraining: Retraining, state: RetrainingState, outcome: str) -> bool:
        folder = retraining_folder(self._ctx, retraining.id)
        for name in ("train", "gate", "project"):  # all of it is in the content store; the log stays
            shutil.rmtree(folder / name, ignore_errors=True)
        who = retraining.challenger or retraining.model
        return self._move(retraining, state, state.value, f"{who} {state.value}: {outcome}", outcome=outcome)

    def _move(self, retraining: Retraining, to: RetrainingState, verb: str, summary: str, **changes: object) -> bool:
        moved = move_retraining(self._ctx, retraining, to, verb, summary, **changes)
        return moved.state is to


def _job_id(retraining: Retraining, attempt: int) -> str:
    return f"retraining-{retraining.id}-{attempt}"


def _vanished(status: JobStatus) -> bool:
    """Whether a job was killed, or left no exit code at all, rather than having failed by itself."""
    return status.exit_code is None or status.exit_code < 0 or status.exit_code in _STOPPED
