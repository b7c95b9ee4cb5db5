"""Running a project: data, code and environment on record, steps by the cache or as jobs, then the model registered."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tournant.domain.data import DatasetVersion
from tournant.domain.params import flatten_params, written
from tournant.domain.pipeline import Project, TestSpec
from tournant.domain.registry import ModelVersion
from tournant.domain.tracking import Run, RunStatus, StepRun
from tournant.errors import Conflict, Pruned, TournantError
from tournant.ports import Job
from tournant.services.context import Context, new_id
from tournant.services.data import find_newest_version
from tournant.services.environments import get_environment
from tournant.services.interruption import ending_cleanly
from tournant.services.leftovers import cancel_runs
from tournant.services.pipeline_inputs import PipelineInputs, gather_inputs, names_in_store
from tournant.services.progress import Progress
from tournant.services.project_models import makes_model, register_project_model
from tournant.services.projects import load_project
from tournant.services.registry import Provenance, get_version
from tournant.services.shared_steps import SharedSteps
from tournant.services.step_order import choose_steps, log_step_metrics, run_steps
from tournant.services.steps import NICENESS, StepRunner, command_environ, last_lines, own_interpreter
from tournant.services.tracking import create_run, finish_run, get_run

__all__ = ["PipelineResult", "run_project", "run_tests"]

FOLDER_TAG = "tournant.folder"
TESTS_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineResult:
    """What a run of a project came to. `model_version` is the newest one unchanged when nothing in it has changed."""

    project: Project
    run: Run
    steps: tuple[StepRun, ...]
    model_version: ModelVersion | None = None

    @property
    def cached(self) -> bool:
        """Whether no step had to run."""
        return all(step.cached for step in self.steps)


def run_project(
    ctx: Context,
    folder: Path,
    *,
    steps: Sequence[str] = (),
    force: bool = False,
    jobs: int = 2,
    register: bool = True,
    share: bool = True,
    watch: Callable[[Progress], str] | None = None,
    datasets: Mapping[str, str] | None = None,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> PipelineResult:
    """Run a project's pipeline (or only `steps` and what they need), `jobs` steps at once, and register its model.

    A step with the same command, params, deps and environment as before is answered from the step cache unless `force`;
    so an interrupted run resumes. With `share`, the project's `step_cache` is asked too, and gets what was made. `watch` hears what steps report, and may say that the run is hopeless (Pruned). `datasets` puts dataset versions (`{"flights": "flights@3"}`) in the place of the
    project's own files, `params` values in the place of its own. `tags` go to the run and to the model version, which is then always a new one. Invalid, with the
    last lines of its output, when a step fails; Conflict when the folder is being run already.
    """
    folder, say = folder.resolve(), on_progress or _say_nothing
    with _alone_in(ctx, folder), ending_cleanly():
        inputs = gather_inputs(ctx, folder, datasets or {}, params or {})
        wanted = choose_steps(inputs.project, steps)
        cancel_runs(ctx, FOLDER_TAG, str(inputs.folder))
        run = _begin(ctx, inputs, tags or {})
        try:
            runner = _runner(ctx, inputs, run, force=force, share=share, watch=watch, say=say)
            done = run_steps(runner, wanted, jobs=jobs)
            if runner.shared:
                runner.shared.share(done)
            log_step_metrics(runner, wanted)
            version = None
            if register and makes_model(inputs.project, wanted):
                version = _register(ctx, inputs, get_run(ctx, run.id), tags or {}, say)
        except Pruned as exc:
            finish_run(ctx, run.id, status=RunStatus.CANCELLED, error=exc.message)
            raise
        except TournantError as exc:
            finish_run(ctx, run.id, status=RunStatus.FAILED, error=exc.message)
            raise
        except BaseException as exc:
            finish_run(ctx, run.id, status=RunStatus.CANCELLED, error=f"interrupted: {type(exc).__name__}")
            raise
        result = PipelineResult(project=inputs.project, run=finish_run(ctx, run.id), steps=done, model_version=version)
        if result.steps and result.cached:
            say("nothing had to run" if runner.shared and runner.shared.fetched else "nothing changed")
        return result


def run_tests(
    ctx: Context, folder: Path, version: str, *, on_progress: Callable[[str], None] | None = None
) -> dict[str, bool]:
    """Run the project's tests on a model version: name to whether the command ended with 0.

    What the version's run has made is put back into `folder` first, and its datasets where they are missing.
    """
    say = on_progress or _say_nothing
    found = get_version(ctx, version)
    project = load_project(folder, provided=names_in_store(ctx))
    _restore(ctx, project, folder, found)
    environment = get_environment(ctx, found.environment) if project.environment and found.environment else None
    python = ctx.environments.build(environment) if environment else own_interpreter()
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


def _begin(ctx: Context, inputs: PipelineInputs, tags: Mapping[str, str]) -> Run:
    return create_run(
        ctx,
        experiment=inputs.project.name,
        params={name: written(value) for name, value in flatten_params(inputs.project.params).items()},
        tags={FOLDER_TAG: str(inputs.folder), **tags},
        datasets=[version.id for version in inputs.data.values()],
        code=inputs.code,
        commit=inputs.commit,
        environment=inputs.environment.digest if inputs.environment else "",
    )


def _runner(
    ctx: Context,
    inputs: PipelineInputs,
    run: Run,
    *,
    force: bool,
    share: bool,
    watch: Callable[[Progress], str] | None,
    say: Callable[[str], None],
) -> StepRunner:
    return StepRunner(
        ctx=ctx,
        project=inputs.project,
        folder=inputs.folder,
        run=run,
        environment=inputs.environment,
        known={inputs.project.data[name]: version.digest for name, version in inputs.data.items()},
        force=force,
        shared=SharedSteps(ctx, inputs.project.step_cache, say) if share and inputs.project.step_cache else None,
        watch=watch,
        say=say,
    )


def _register(
    ctx: Context, inputs: PipelineInputs, run: Run, tags: Mapping[str, str], say: Callable[[str], None]
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


def _say_nothing(_text: str) -> None:
    return
