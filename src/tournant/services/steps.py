"""Running one pipeline step: from the step cache, or as a job in the project's environment."""

import json
import math
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tournant.domain.data import StepCacheEntry
from tournant.domain.environment import Environment
from tournant.domain.machine import SharedStep, StepMachine, numeric_defaults
from tournant.domain.params import find_param
from tournant.domain.pipeline import Project, Step, cache_key, flatten_metrics
from tournant.domain.tracking import Metric, Run, RunStatus, StepRun
from tournant.errors import Invalid, Pruned
from tournant.ports import Job, JobStatus
from tournant.services.context import Context
from tournant.services.progress import Progress, ProgressFile
from tournant.services.shared_steps import SharedSteps
from tournant.services.tracking import log, log_step

__all__ = [
    "StepRunner",
    "command_environ",
    "find_cached",
    "last_lines",
    "own_interpreter",
    "read_metrics",
    "step_environment",
]

_BY_SIGNAL = 128  # a shell says that a command was killed by adding the signal to this
PROGRESS_SECONDS = 0.25  # between two looks at what a step reports
LOG_BATCH = 1000
NICENESS = 10  # training must not starve serving on the same machine


def command_environ(ctx: Context, python: Path | None) -> dict[str, str]:
    """Give the variables under which `python` in a command is the environment's."""
    search = ctx.settings.environ.get("PATH", "/usr/bin:/bin")
    variables = {"PYTHONUNBUFFERED": "1"}
    return {**variables, "PATH": f"{python.parent}:{search}"} if python else variables


@dataclass(slots=True)
class _Interpreter:
    """Builds the environment when the first step really has to run: a run that is all cached never does."""

    ctx: Context
    environment: Environment | None
    lock: threading.Lock = field(default_factory=threading.Lock)
    path: Path | None = None

    def get(self) -> Path:
        with self.lock:
            if self.path is None:
                self.path = self.ctx.environments.build(self.environment) if self.environment else own_interpreter()
        return self.path


def own_interpreter() -> Path:
    """Give the Python that runs tournant, where a project declares no environment."""
    return Path(sys.executable)


@dataclass(kw_only=True)
class StepRunner:
    """Runs the steps of one run of a project; several may run at once, in threads.

    `known` are digests of paths that need not be read: datasets, and outs once they are made. Without `caching` the step
    cache is neither read nor written; `variables` are set for a step (by name) beside its own.
    """

    ctx: Context
    project: Project
    folder: Path
    run: Run
    environment: Environment | None
    known: dict[str, str]
    force: bool = False
    caching: bool = True
    shared: SharedSteps | None = None
    watch: Callable[[Progress], str] | None = None  # gives why the run is hopeless, or nothing
    variables: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    say: Callable[[str], None]
    running: set[str] = field(default_factory=set)
    reported: dict[str, int] = field(default_factory=dict)  # the last step of each metric that steps reported

    @cached_property
    def _interpreter(self) -> _Interpreter:
        return _Interpreter(self.ctx, self.environment)

    def run_step(self, step: Step, position: int) -> StepRun:
        """Make a step's outs, by the cache or by running it; Invalid with its last lines when it fails."""
        params = {name: find_param(self.project.params, name) for name in step.params}
        deps = {dep: self._digest(step, dep) for dep in step.deps}
        environment = step_environment(self.ctx, self.environment)
        key = cache_key(step, params=params, deps=deps, environment=environment)
        record = StepRun(
            run=self.run.id,
            step=step.name,
            position=position,
            status=RunStatus.RUNNING,
            cache_key=key,
            started_at=self.ctx.clock.now(),
        )
        if step.frozen:
            return self._take_frozen(step, record)
        entry = None if self.force or not self.caching else find_cached(self.ctx, key)
        if entry:
            return self._take_cached(step, record, entry)
        shared = None if self.force or not self.caching or not self.shared else self.shared.fetch(key)
        if shared:
            return self._take_shared(step, record, shared)
        return self._execute(step, record, params)

    def _digest(self, step: Step, dep: str) -> str:
        if dep not in self.known:
            if not (self.folder / dep).exists():
                raise Invalid(f"step {step.name!r} needs {dep!r}, which is not there", place=f"pipeline.{step.name}")
            self.known[dep] = self.ctx.blobs.put_tree(self.folder / dep).digest
        return self.known[dep]

    def _take_frozen(self, step: Step, record: StepRun) -> StepRun:
        """Take what stands in the folder, or else what the step made last."""
        absent = [path for path in step.products if not (self.folder / path).exists()]
        with self.ctx.transactions.begin(write=False) as uow:
            last = uow.find(StepCacheEntry, step=step.name, order="-created_at", limit=1) if absent else []
        for path in absent:
            if not last or path not in last[0].outs:
                raise Invalid(
                    f"step {step.name!r} is frozen, but {path!r} is neither here nor was it ever made. "
                    "Take 'frozen' out to run it once",
                    place=f"pipeline.{step.name}",
                )
            self.ctx.blobs.checkout(last[0].outs[path], self.folder / path)
        outs = {path: self.ctx.blobs.put_tree(self.folder / path).digest for path in step.products}
        self.known.update(outs)
        self.say(f"{step.name}: frozen")
        now = self.ctx.clock.now()
        done = replace(record, status=RunStatus.SUCCESSFUL, cached=True, ended_at=now, exit_code=0, outs=outs)
        log_step(self.ctx, done)
        return done

    def _take_cached(self, step: Step, record: StepRun, entry: StepCacheEntry, words: str = "unchanged") -> StepRun:
        for path, digest in entry.outs.items():
            self.ctx.blobs.checkout(digest, self.folder / path)
            self.known[path] = digest
        self.say(f"{step.name}: {words}")
        now = self.ctx.clock.now()
        done = replace(record, status=RunStatus.SUCCESSFUL, cached=True, ended_at=now, exit_code=0, outs=entry.outs)
        with self.ctx.transactions.begin() as uow:
            uow.save(done)
            made_on = uow.get(StepMachine, entry.run, step.name)
            if made_on and entry.run != self.run.id:
                uow.save(replace(made_on, run=self.run.id))
        return done

    def _take_shared(self, step: Step, record: StepRun, shared: SharedStep) -> StepRun:
        """Take what a remote had: from now on it is this home's."""
        entry = replace(shared.entry, run=self.run.id, step=step.name)
        with self.ctx.transactions.begin() as uow:
            uow.save(entry)
            if shared.machine:
                uow.save(StepMachine(run=self.run.id, step=step.name, machine=shared.machine))
        return self._take_cached(step, record, entry, "fetched from the shared step cache")

    def _execute(self, step: Step, record: StepRun, params: Mapping[str, object]) -> StepRun:
        python = self._interpreter.get()
        notes = self.ctx.settings.home / "runs" / self.run.id
        notes.mkdir(parents=True, exist_ok=True)
        params_file = notes / f"{step.name}.params.json"
        params_file.write_text(json.dumps(params))
        log = notes / f"{step.name}.log"
        record = replace(record, log=str(log))
        log_step(self.ctx, record)
        self.say(f"{step.name}: {step.run}")
        variables: dict[str, str | None] = {
            **command_environ(self.ctx, python),
            **self.variables.get(step.name, {}),
            **self._tracking(),
            **step.env,
            "TOURNANT_HOME": str(self.ctx.settings.home),
            "TOURNANT_RUN_ID": self.run.id,
            "TOURNANT_STEP": step.name,
            "TOURNANT_PARAMS": str(params_file),
            "TOURNANT_PROGRESS": str(notes / f"{step.name}.progress.ndjson"),
        }
        progress = ProgressFile(notes / f"{step.name}.progress.ndjson")
        machine = self._read_machine(step, python, variables)
        job = Job(
            id=f"{self.run.id}-{step.name}",
            command=step.run,
            cwd=self.folder,
            log=log,
            env=variables,
            threads=step.threads,
            niceness=NICENESS,
        )
        for left in range(step.retries, -1, -1):
            for path in step.products:
                _clear(self.folder / path)
            progress.begin()
            try:
                ended = self._wait(job, step.timeout_seconds, progress)
            except Pruned:
                log_step(self.ctx, replace(record, status=RunStatus.CANCELLED, ended_at=self.ctx.clock.now()))
                raise
            if ended.exit_code == 0 or not left:
                break
            self.say(f"{step.name}: failed, running it again ({left} more)")
        if ended.state == "running":
            log_step(self.ctx, replace(record, status=RunStatus.FAILED, ended_at=self.ctx.clock.now()))
            raise Invalid(_too_long(step, log), place=f"pipeline.{step.name}")
        return self._conclude(step, replace(record, exit_code=ended.exit_code), machine)

    def _read_machine(self, step: Step, python: Path, variables: Mapping[str, str | None]) -> StepMachine:
        environ = self.ctx.settings.child_environ({**numeric_defaults(step.threads), **variables})
        return StepMachine(run=self.run.id, step=step.name, machine=self.ctx.environments.machine(python, environ))

    def _tracking(self) -> dict[str, str]:
        """Let MLflow's clients log to this run, where a server can hear them and nobody has told them another."""
        settings = self.ctx.settings
        if not settings.mlflow_url:
            return {}
        token = {"MLFLOW_TRACKING_TOKEN": settings.token} if settings.token else {}
        return {"MLFLOW_TRACKING_URI": settings.mlflow_url, "MLFLOW_RUN_ID": self.run.id, **token}

    def _wait(self, job: Job, timeout_seconds: float, progress: ProgressFile) -> JobStatus:
        """Wait for a job and hear what it reports; one that takes too long is stopped, and its status still says that it was running.

        Pruned when what it reports is hopeless.
        """
        self.running.add(job.id)
        deadline = time.monotonic() + (timeout_seconds or math.inf)
        try:
            self.ctx.executor.start(job)
            while True:
                left = min(PROGRESS_SECONDS, deadline - time.monotonic())
                status = self.ctx.executor.wait(job.id, timeout_seconds=max(0.0, left))
                hopeless = self._hear(progress)
                if status.state == "running" and (hopeless or time.monotonic() >= deadline):
                    self.ctx.executor.stop(job.id)
                    if hopeless:
                        raise Pruned(f"pruned: {hopeless}", place=self.run.id)
                    return status
                if status.state != "running":
                    return status
        finally:
            self.running.discard(job.id)

    def _hear(self, progress: ProgressFile) -> str:
        """Log what a step has reported since; give why its run is hopeless, or nothing."""
        reports = progress.take()
        if not reports:
            return ""
        now = self.ctx.clock.now()
        metrics = [
            Metric(run=self.run.id, key=key, step=report.step, time=now, value=value)
            for report in reports
            for key, value in report.values.items()
        ]
        for metric in metrics:
            self.reported[metric.key] = max(metric.step, self.reported.get(metric.key, metric.step))
        try:
            for start in range(0, len(metrics), LOG_BATCH):
                log(self.ctx, self.run.id, metrics=metrics[start : start + LOG_BATCH])
        except Invalid as exc:  # a name that no metric can have
            self.say(f"reports are not kept: {exc.message}")
        return next(filter(None, map(self.watch, reports)), "") if self.watch else ""

    def _conclude(self, step: Step, record: StepRun, machine: StepMachine) -> StepRun:
        record = replace(record, ended_at=self.ctx.clock.now())
        missing = [path for path in step.products if not (self.folder / path).exists()]
        if record.exit_code != 0 or missing:
            log_step(self.ctx, replace(record, status=RunStatus.FAILED))
            raise Invalid(_failure(step, record, missing), place=f"pipeline.{step.name}")
        try:
            read_metrics(self.folder, step)
        except Invalid:
            log_step(self.ctx, replace(record, status=RunStatus.FAILED))
            raise
        outs = {path: self.ctx.blobs.put_tree(self.folder / path).digest for path in step.products}
        self.known.update(outs)
        done = replace(record, status=RunStatus.SUCCESSFUL, outs=outs)
        entry = StepCacheEntry(
            key=record.cache_key, step=step.name, outs=outs, created_at=record.ended_at or 0.0, run=self.run.id
        )
        with self.ctx.transactions.begin() as uow:
            uow.save(done)
            uow.save(machine)
            if self.caching:
                uow.save(entry)
        return done


def step_environment(ctx: Context, environment: Environment | None) -> str:
    """Give what stands for the environment in a step's cache key."""
    return environment.digest if environment else f"platform {ctx.settings.platform_python}"


def find_cached(ctx: Context, key: str) -> StepCacheEntry | None:
    """Give the step cache's answer to a key, if all that it names is still in the content store."""
    with ctx.transactions.begin(write=False) as uow:
        entry = uow.get(StepCacheEntry, key)
    return entry if entry and all(_has_whole(ctx, digest) for digest in entry.outs.values()) else None


def _has_whole(ctx: Context, digest: str) -> bool:
    blobs = ctx.blobs
    return blobs.has(digest) and all(blobs.has(file.digest) for file in blobs.tree(digest).files.values())


def read_metrics(folder: Path, step: Step) -> dict[str, float]:
    """Read the numbers in a step's metrics files; Invalid when one is no JSON object."""
    metrics: dict[str, float] = {}
    for path in step.metrics:
        try:
            content = json.loads((folder / path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise Invalid(f"step {step.name!r}: metrics file {path!r} is not JSON: {exc}", place=path) from exc
        if not isinstance(content, dict):
            raise Invalid(
                f'step {step.name!r}: metrics file {path!r} must be an object such as {{"auroc": 0.7}}', place=path
            )
        metrics.update(flatten_metrics(content))
    return metrics


def last_lines(log: Path, count: int = 20) -> str:
    """Give the end of a log, indented."""
    if not log.is_file():
        return "  (it wrote nothing)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        lines = file.read().decode(errors="replace").rstrip().splitlines()[-count:]
    return "\n".join(f"  {line}" for line in lines) or "  (it wrote nothing)"


def _failure(step: Step, record: StepRun, missing: list[str]) -> str:
    if record.exit_code == 0:
        what = f"step {step.name!r} ended well but did not make {', '.join(map(repr, missing))}"
    elif record.exit_code is None or record.exit_code < 0 or record.exit_code > _BY_SIGNAL:
        number = abs(record.exit_code or 9) % _BY_SIGNAL
        what = f"step {step.name!r} was killed (signal {number}{', perhaps for lack of memory' if number == 9 else ''})"
    else:
        what = f"step {step.name!r} failed with exit code {record.exit_code}"
    return f"{what}: {step.run}\n{last_lines(Path(record.log))}\nIts whole log: {record.log}"


def _too_long(step: Step, log: Path) -> str:
    what = f"step {step.name!r} was stopped after its timeout of {step.timeout_seconds:g} s"
    return f"{what}: {step.run}\n{last_lines(log)}\nIts whole log: {log}"


def _clear(path: Path) -> None:
    """Take away what an earlier run has made (the content store has it), so that nothing stale can pass for new."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
