"""Running a project: data, code and environment on record, steps by the cache or as jobs, then the model registered."""

import fcntl
import hashlib
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from types import FrameType

from tournant.domain.data import DatasetVersion
from tournant.domain.environment import Environment
from tournant.domain.pipeline import Project, TestSpec, producers, upstream
from tournant.domain.registry import ModelVersion
from tournant.domain.tracking import Metric, Run, RunStatus, StepRun
from tournant.errors import Conflict, NotFound, TournantError
from tournant.ports import Job
from tournant.services.code import capture_code, find_commit
from tournant.services.context import Context, new_id
from tournant.services.data import add_dataset_version, checkout_dataset_version, find_newest_version, list_datasets
from tournant.services.environments import capture_environment, get_environment
from tournant.services.project_models import makes_model, register_project_model
from tournant.services.projects import load_project
from tournant.services.registry import Provenance, get_version
from tournant.services.steps import NICENESS, StepRunner, command_environ, last_lines, read_metrics
from tournant.services.tracking import create_run, finish_run, get_run, log_metrics
from tournant.services.yaml_document import suggest

__all__ = ["PipelineResult", "run_project", "run_tests"]

FOLDER_TAG = "tournant.folder"
TESTS_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineResult:
    """What a run of a project came to. `model_version` is the newest one unchanged when nothing in it has changed."""

    run: Run
    steps: tuple[StepRun, ...]
    model_version: ModelVersion | None = None

    @property
    def cached(self) -> bool:
        """Whether no step had to run."""
        return all(step.cached for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """All that a run is given."""

    project: Project
    folder: Path
    data: Mapping[str, DatasetVersion]
    environment: Environment | None
    code: str
    commit: str


def run_project(
    ctx: Context,
    folder: Path,
    *,
    steps: Sequence[str] = (),
    force: bool = False,
    jobs: int = 2,
    register: bool = True,
    datasets: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> PipelineResult:
    """Run a project's pipeline (or only `steps` and what they need), `jobs` steps at once, and register its model.

    A step with the same command, params, deps and environment as before is answered from the step cache unless `force`;
    so an interrupted run resumes. `datasets` puts dataset versions (`{"flights": "flights@3"}`) in the place of the
    project's own files. `tags` go to the run and to the model version, which is then always a new one. Invalid, with the
    last lines of its output, when a step fails; Conflict when the folder is being run already.
    """
    folder, say = folder.resolve(), on_progress or _say_nothing
    with _alone_in(ctx, folder), _ending_cleanly():
        inputs = _gather(ctx, folder, datasets or {})
        wanted = _choose(inputs.project, steps)
        _cancel_interrupted(ctx, inputs)
        run = _begin(ctx, inputs, tags or {})
        try:
            done = _run_steps(ctx, inputs, run, wanted, jobs=jobs, force=force, say=say)
            _log_metrics(ctx, inputs, run, wanted)
            version = None
            if register and makes_model(inputs.project, wanted):
                version = _register(ctx, inputs, get_run(ctx, run.id), tags or {}, say)
        except TournantError as exc:
            finish_run(ctx, run.id, status=RunStatus.FAILED, error=exc.message)
            raise
        except BaseException as exc:
            finish_run(ctx, run.id, status=RunStatus.CANCELLED, error=f"interrupted: {type(exc).__name__}")
            raise
        result = PipelineResult(run=finish_run(ctx, run.id), steps=done, model_version=version)
        if result.steps and result.cached:
            say("nothing changed")
        return result


def run_tests(
    ctx: Context, folder: Path, version: str, *, on_progress: Callable[[str], None] | None = None
) -> dict[str, bool]:
    """Run the project's tests on a model version: name to whether the command ended with 0.

    What the version's run has made is put back into `folder` first, and its datasets where they are missing.
    """
    say = on_progress or _say_nothing
    found = get_version(ctx, version)
    project = load_project(folder, provided=_in_store(ctx))
    _restore(ctx, project, folder, found)
    environment = get_environment(ctx, found.environment) if project.environment and found.environment else None
    python = ctx.environments.build(environment) if environment else _own_python()
    notes = ctx.settings.home / "runs" / (found.run or "tests")
    environ = {**command_environ(ctx, python), "TOURNANT_MODEL": str(_model_folder(project, folder))}

    def passes(test: TestSpec) -> bool:
        log = notes / f"test-{found.number}-{test.name}.log"
        job = Job(id=f"test-{new_id()}", command=test.run, cwd=folder, log=log, env=environ, niceness=NICENESS)
        ctx.executor.start(job)
        passed = ctx.executor.wait(job.id).exit_code == 0
        say(f"test {test.name}: " + ("passed" if passed else f"failed\n{last_lines(log)}"))
        return passed

    with ThreadPoolExecutor(TESTS_AT_ONCE) as pool:
        return dict(zip((test.name for test in project.tests), pool.map(passes, project.tests), strict=True))


def _gather(ctx: Context, folder: Path, datasets: Mapping[str, str]) -> _Inputs:
    project = load_project(folder, provided={*datasets, *_in_store(ctx)})
    unknown = [name for name in datasets if name not in project.data]
    if unknown:
        known = ", ".join(project.data) or "none"
        raise NotFound(f"the project has no dataset {unknown[0]!r} (it has: {known})")
    data = {name: _bring(ctx, name, folder, path, datasets.get(name)) for name, path in project.data.items()}
    return _Inputs(
        project=project,
        folder=folder,
        data=data,
        environment=capture_environment(ctx, project),
        code=capture_code(ctx, project, folder),
        commit=find_commit(folder),
    )


def _in_store(ctx: Context) -> set[str]:
    return {dataset.name for dataset in list_datasets(ctx)}


def _bring(ctx: Context, name: str, folder: Path, path: str, wanted: str | None) -> DatasetVersion:
    """Give the version of a dataset that a run reads: the one wanted, the one whose content is there, or a new one."""
    if wanted or not (folder / path).exists():
        return checkout_dataset_version(ctx, wanted or name, folder / path)
    digest = ctx.blobs.put_tree(folder / path).digest
    with ctx.transactions.begin(write=False) as uow:
        known = uow.find(DatasetVersion, dataset=name, digest=digest, order="-number", limit=1)
    return known[0] if known else add_dataset_version(ctx, name, folder / path, source="project", project_path=path)


def _choose(project: Project, steps: Sequence[str]) -> frozenset[str]:
    names = [step.name for step in project.steps]
    for name in steps:
        if name not in names:
            hint = suggest(name, names) or f" (it has: {', '.join(names)})"
            raise NotFound(f"the pipeline has no step {name!r}{hint}")
    return upstream(project.steps, steps or names)


def _begin(ctx: Context, inputs: _Inputs, tags: Mapping[str, str]) -> Run:
    return create_run(
        ctx,
        experiment=inputs.project.name,
        params={key: value if isinstance(value, str) else _json(value) for key, value in inputs.project.params.items()},
        tags={FOLDER_TAG: str(inputs.folder), **tags},
        datasets=[version.id for version in inputs.data.values()],
        code=inputs.code,
        commit=inputs.commit,
        environment=inputs.environment.digest if inputs.environment else "",
    )


def _run_steps(
    ctx: Context,
    inputs: _Inputs,
    run: Run,
    wanted: frozenset[str],
    *,
    jobs: int,
    force: bool,
    say: Callable[[str], None],
) -> tuple[StepRun, ...]:
    project = inputs.project
    runner = StepRunner(
        ctx=ctx,
        project=project,
        folder=inputs.folder,
        run=run,
        environment=inputs.environment,
        known={project.data[name]: version.digest for name, version in inputs.data.items()},
        force=force,
        say=say,
    )
    places = {step.name: (position, step) for position, step in enumerate(project.steps) if step.name in wanted}
    order = TopologicalSorter({name: needs for name, needs in producers(project.steps).items() if name in wanted})
    order.prepare()
    pending: dict[Future[StepRun], str] = {}
    done: dict[str, StepRun] = {}
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        try:
            while order.is_active():
                for name in order.get_ready():
                    position, step = places[name]
                    pending[pool.submit(runner.run_step, step, position)] = name
                ended, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in ended:
                    name = pending.pop(future)
                    done[name] = future.result()
                    order.done(name)
        except TournantError:
            for future in pending:
                future.cancel()  # those that run already may end: their outs go to the cache
            raise
        except BaseException:
            for future in pending:
                future.cancel()
            for job in list(runner.running):
                ctx.executor.stop(job)
            raise
    return tuple(done[name] for name in places)


def _log_metrics(ctx: Context, inputs: _Inputs, run: Run, wanted: frozenset[str]) -> None:
    now = ctx.clock.now()
    found = {
        key: value
        for step in inputs.project.steps
        if step.name in wanted
        for key, value in read_metrics(inputs.folder, step).items()
        if math.isfinite(value)
    }
    if found:
        log_metrics(
            ctx, run.id, [Metric(run=run.id, key=key, step=0, time=now, value=value) for key, value in found.items()]
        )


def _register(
    ctx: Context, inputs: _Inputs, run: Run, tags: Mapping[str, str], say: Callable[[str], None]
) -> ModelVersion:
    provenance = Provenance(
        run=run.id, code=run.code, commit=run.commit, datasets=run.datasets, metrics=run.metrics, tags=tags
    )
    return register_project_model(ctx, inputs.project, inputs.folder, inputs.environment, provenance, say=say)


def _restore(ctx: Context, project: Project, folder: Path, version: ModelVersion) -> None:
    with ctx.transactions.begin(write=False) as uow:
        steps = uow.find(StepRun, run=version.run) if version.run else []
        versions = [uow.get(DatasetVersion, name) for name in version.datasets]
        data = {found.dataset: found for found in versions if found}
        data.update(
            {name: found for name in project.data if name not in data and (found := find_newest_version(uow, name))}
        )
    for name, path in project.data.items():
        if name in data and not (folder / path).exists():
            ctx.blobs.checkout(data[name].digest, folder / path)
    for step in steps:
        for path, digest in step.outs.items():
            ctx.blobs.checkout(digest, folder / path)
    if project.model and not (folder / project.model.path).is_file():
        ctx.blobs.checkout(version.digest, folder / project.model.path)


def _model_folder(project: Project, folder: Path) -> Path:
    path = folder / (project.model.path if project.model else "model")
    return path if path.is_dir() else path.parent


def _cancel_interrupted(ctx: Context, inputs: _Inputs) -> None:
    """End what a run in this folder has left behind that was killed: its record, and jobs which outlived it."""
    with ctx.transactions.begin(write=False) as uow:
        runs = uow.find(Run, experiment=inputs.project.name, status=RunStatus.RUNNING)
        left = [run for run in runs if run.tags.get(FOLDER_TAG) == str(inputs.folder)]
        steps = [step for run in left for step in uow.find(StepRun, run=run.id, status=RunStatus.RUNNING)]
    for step in steps:
        ctx.executor.stop(f"{step.run}-{step.step}")
    for run in left:
        finish_run(ctx, run.id, status=RunStatus.CANCELLED, error="interrupted: its process was killed")


@contextmanager
def _alone_in(ctx: Context, folder: Path) -> Iterator[None]:
    """Keep others from running in the same folder; the lock goes with the process."""
    locks = ctx.settings.home / "runs"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise Conflict(f"the project in {folder} is being run already; wait for it, or stop it") from exc
        yield


@contextmanager
def _ending_cleanly() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does, its jobs included, where nobody else handles it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _json(value: object) -> str:
    return json.dumps(value)


def _own_python() -> Path:
    return Path(sys.executable)


def _say_nothing(_text: str) -> None:
    return
