"""Running a pipeline's steps in their order, several at once."""

import math
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter

from tournant.domain.pipeline import Project, producers, upstream
from tournant.domain.tracking import Metric, StepRun
from tournant.errors import NotFound, TournantError
from tournant.services.steps import StepRunner, read_metrics
from tournant.services.tracking import log
from tournant.services.yaml_document import suggest

__all__ = ["choose_steps", "log_step_metrics", "run_steps"]


def choose_steps(project: Project, names: Sequence[str]) -> frozenset[str]:
    """Give the named steps (a repeated one by its name in the file, too) and all they need; every step if none is named."""
    known: dict[str, list[str]] = {}
    for step in project.steps:
        for name in dict.fromkeys((step.defined_as or step.name, step.name)):
            known.setdefault(name, []).append(step.name)
    for name in names:
        if name not in known:
            hint = suggest(name, list(known)) or f" (it has: {', '.join(known)})"
            raise NotFound(f"the pipeline has no step {name!r}{hint}")
    return upstream(project.steps, [step for name in names or known for step in known[name]])


def run_steps(runner: StepRunner, wanted: frozenset[str], *, jobs: int) -> tuple[StepRun, ...]:
    """Run the wanted steps of the runner's project, `jobs` at once; what runs is stopped when this is interrupted."""
    project = runner.project
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
                runner.ctx.executor.stop(job)
            raise
    return tuple(done[name] for name in places)


def log_step_metrics(runner: StepRunner, wanted: frozenset[str]) -> None:
    """Log the numbers in the metrics files of the wanted steps to the run; what is no finite number is left out.

    They come after what steps reported of the same metrics while they ran.
    """
    ctx, run = runner.ctx, runner.run
    now = ctx.clock.now()
    found = {
        key: value
        for step in runner.project.steps
        if step.name in wanted
        for key, value in read_metrics(runner.folder, step).items()
        if math.isfinite(value)
    }
    if found:
        metrics = [
            Metric(run=run.id, key=key, step=runner.reported.get(key, -1) + 1, time=now, value=value)
            for key, value in found.items()
        ]
        log(ctx, run.id, metrics=metrics)
