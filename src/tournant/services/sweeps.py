"""Sweeps: one project with many params, each combination as a tracked run in a folder of its own, several at once."""

import math
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tournant.domain.pruning import MedianRule
from tournant.domain.sweep import Choices, Range
from tournant.domain.tracking import Run
from tournant.errors import Invalid, Pruned, TournantError
from tournant.ports import Sampler
from tournant.services.context import Context, new_id
from tournant.services.interruption import ending_cleanly
from tournant.services.leftovers import clear_leftovers, scratch_folder
from tournant.services.params import read_value
from tournant.services.pipeline_inputs import PipelineInputs, gather_inputs
from tournant.services.pipelines import run_project
from tournant.services.progress import Progress
from tournant.services.projects import load_project
from tournant.services.tracking import get_run

__all__ = ["SWEEP_TAG", "Objective", "Trial", "order_trials", "read_space", "run_sweep"]

SCRATCH = "sweeps"  # the kind of its folders
SWEEP_TAG = "tournant.sweep"
_RANGE = re.compile(r"(-?[\d.eE+-]+?)\.\.(-?[\d.eE+-]+?)(:log)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One combination of params: its run, or why there is none, or why it was stopped."""

    params: dict[str, object]
    run: Run | None = None
    failure: str = ""
    pruned: str = ""  # why it was stopped before its end

    def metric(self, name: str) -> float | None:
        """Give a metric of it, if it has that."""
        return self.run.metrics.get(name) if self.run else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a sweep looks for; with `prune` trials that are hopeless are stopped."""

    metric: str
    maximize: bool = True
    prune: bool = False


def read_space(texts: Sequence[str]) -> dict[str, Choices | Range]:
    """Read `PARAM=1,2,3`, `PARAM=1..5` and `PARAM=0.001..0.1:log`.

    >>> read_space(["depth=1..3", "rate=0.001..0.1:log", "kind=a,b"])
    {'depth': Range(low=1, high=3, log=False), 'rate': Range(low=0.001, high=0.1, log=True), 'kind': Choices(values=('a', 'b'))}
    """
    space: dict[str, Choices | Range] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name.strip() or not values.strip():
            raise Invalid(f"{text!r} is no PARAM=1,2,3 or PARAM=1..5 or PARAM=0.001..0.1:log", place="over")
        found = _RANGE.fullmatch(values.strip())
        if not found:
            space[name.strip()] = Choices(tuple(read_value(value.strip()) for value in values.split(",")))
            continue
        low, high = read_value(found[1]), read_value(found[2])
        if not (
            isinstance(low, int | float) and isinstance(high, int | float) and (0 if found[3] else low - 1) < low < high
        ):
            raise Invalid(f"{text!r}: a range goes from a lower to a higher number, above 0 with :log", place="over")
        space[name.strip()] = Range(low, high, bool(found[3]))
    return space


def run_sweep(
    ctx: Context,
    folder: Path,
    sampler: Sampler,
    objective: Objective,
    *,
    jobs: int = 2,
    on_progress: Callable[[str], None] | None = None,
) -> list[Trial]:
    """Run a project with what `sampler` gives, `jobs` at once, on its code and data as they are now.

    Nothing is registered, and the project's folder stays as it is. The first one runs alone, so that steps which all have in
    common are answered by the step cache for the others. A trial that fails does not end the sweep; one that is hopeless by what its
    steps report of the objective's metric is stopped, if the objective prunes. NotFound for a param that the project does not have.
    """
    inputs = gather_inputs(ctx, folder.resolve(), {}, {})
    say = on_progress or _say_nothing
    for left in clear_leftovers(ctx, SCRATCH, SWEEP_TAG):
        say(f"run {left.name} of a sweep that was killed is cancelled, and its folder removed")
    rule = MedianRule(maximize=objective.maximize) if objective.prune else None
    lock, identity = threading.Lock(), new_id()
    trials: dict[int, Trial] = {}

    def watch(number: int, progress: Progress) -> str:
        value = progress.values.get(objective.metric)
        if rule is None or value is None:
            return ""
        with lock:
            return rule.note(number, progress.step, value)

    def run_next() -> bool:
        with lock:
            asked = sampler.ask()
        if asked is None:
            return False
        number, params = asked
        if not trials:
            load_project(folder, provided=list(inputs.data), params=params)
        trial = _run_trial(ctx, inputs, place / str(number), params, sweep=identity, watch=partial(watch, number))
        with lock:
            value = None if trial.pruned else trial.metric(objective.metric)
            sampler.tell(number, value, pruned=bool(trial.pruned))
            trials[number] = trial
            say(f"{len(trials)}/{sampler.count}  {_words(trial)}")
        return True

    def run_all() -> None:
        while run_next():
            pass

    with ending_cleanly(), scratch_folder(ctx, SCRATCH, identity) as place:
        run_next()
        with ThreadPoolExecutor(max(1, jobs)) as pool:
            for done in [pool.submit(run_all) for _ in range(max(1, jobs))]:
                done.result()
    return [trials[number] for number in sorted(trials)]


def order_trials(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """Put the best trials first; those that were stopped or lack the metric come last. Invalid when none has it."""
    metric = objective.metric
    if not any(trial.metric(metric) is not None for trial in trials):
        known = sorted({name for trial in trials if trial.run for name in trial.run.metrics})
        raise Invalid(f"no trial has a metric {metric!r} (there is: {', '.join(known) or 'none'})", place="metric")
    sign = -1.0 if objective.maximize else 1.0

    def key(trial: Trial) -> tuple[bool, float]:
        value = trial.metric(metric)
        return bool(trial.pruned), math.inf if value is None else sign * value

    return sorted(trials, key=key)


def _run_trial(
    ctx: Context,
    inputs: PipelineInputs,
    folder: Path,
    params: dict[str, object],
    *,
    sweep: str,
    watch: Callable[[Progress], str],
) -> Trial:
    ctx.blobs.checkout(inputs.code, folder)
    datasets = {name: version.id for name, version in inputs.data.items()}
    try:
        result = run_project(
            ctx, folder, params=params, datasets=datasets, tags={SWEEP_TAG: sweep}, register=False, jobs=1, watch=watch
        )
    except Pruned as exc:
        return Trial(params=params, run=get_run(ctx, exc.place), pruned=exc.message)
    except TournantError as exc:
        return Trial(params=params, failure=exc.message.splitlines()[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Trial(params=params, run=result.run)


def _words(trial: Trial) -> str:
    params = " ".join(f"{name}={value}" for name, value in trial.params.items())
    if trial.run is None:
        return f"{params}  failed: {trial.failure}"
    if trial.pruned:
        return f"{params}  {trial.pruned}"
    return f"{params}  " + " ".join(f"{name} {value:.4g}" for name, value in list(trial.run.metrics.items())[:3])


def _say_nothing(_text: str) -> None:
    return
