"""Sweeps: one project with many params, each combination as a tracked run in a folder of its own, several at once."""

import math
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tournant.domain.sweep import Choices, Range
from tournant.domain.tracking import Run
from tournant.errors import Invalid, TournantError
from tournant.services.context import Context, new_id
from tournant.services.interruption import ending_cleanly
from tournant.services.params import read_value
from tournant.services.pipeline_inputs import PipelineInputs, gather_inputs
from tournant.services.pipelines import run_project
from tournant.services.projects import load_project

__all__ = ["SWEEP_TAG", "Trial", "order_trials", "read_space", "run_sweep"]

SWEEP_TAG = "tournant.sweep"
_RANGE = re.compile(r"(-?[\d.eE+-]+?)\.\.(-?[\d.eE+-]+?)(:log)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One combination of params: its run, or why there is none."""

    params: dict[str, object]
    run: Run | None = None
    failure: str = ""

    def metric(self, name: str) -> float | None:
        """Give a metric of it, if it has that."""
        return self.run.metrics.get(name) if self.run else None


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
    combinations: Sequence[Mapping[str, object]],
    *,
    jobs: int = 2,
    on_progress: Callable[[str], None] | None = None,
) -> list[Trial]:
    """Run a project with each combination of params, `jobs` at once, on its code and data as they are now.

    Nothing is registered, and the project's folder stays as it is. The first one runs alone, so that steps which all have in
    common are answered by the step cache for the others. A trial that fails does not end the sweep. NotFound for a param that
    the project does not have.
    """
    if not combinations:
        raise Invalid(
            "there is nothing to sweep over: name params and values, such as --over depth=2,3,4", place="over"
        )
    inputs = gather_inputs(ctx, folder.resolve(), {}, {})
    for params in combinations[:1]:
        load_project(folder, provided=list(inputs.data), params=params)
    place = ctx.settings.home / "sweeps" / new_id()
    say = on_progress or _say_nothing

    def run(index: int) -> Trial:
        trial = _run_trial(ctx, inputs, place / str(index), dict(combinations[index]), sweep=place.name)
        say(f"{index + 1}/{len(combinations)}  {_words(trial)}")
        return trial

    with ending_cleanly():
        try:
            first = run(0)
            with ThreadPoolExecutor(max(1, jobs)) as pool:
                return [first, *pool.map(run, range(1, len(combinations)))]
        finally:
            shutil.rmtree(place, ignore_errors=True)


def order_trials(trials: Sequence[Trial], metric: str, *, maximize: bool) -> list[Trial]:
    """Put the best trials first; those without the metric come last. Invalid when none has it."""
    if not any(trial.metric(metric) is not None for trial in trials):
        known = sorted({name for trial in trials if trial.run for name in trial.run.metrics})
        raise Invalid(f"no trial has a metric {metric!r} (there is: {', '.join(known) or 'none'})", place="metric")
    sign = -1.0 if maximize else 1.0

    def key(trial: Trial) -> float:
        value = trial.metric(metric)
        return math.inf if value is None else sign * value

    return sorted(trials, key=key)


def _run_trial(ctx: Context, inputs: PipelineInputs, folder: Path, params: dict[str, object], *, sweep: str) -> Trial:
    ctx.blobs.checkout(inputs.code, folder)
    datasets = {name: version.id for name, version in inputs.data.items()}
    try:
        result = run_project(
            ctx, folder, params=params, datasets=datasets, tags={SWEEP_TAG: sweep}, register=False, jobs=1
        )
    except TournantError as exc:
        return Trial(params=params, failure=exc.message.splitlines()[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Trial(params=params, run=result.run)


def _words(trial: Trial) -> str:
    params = " ".join(f"{name}={value}" for name, value in trial.params.items())
    if trial.run is None:
        return f"{params}  failed: {trial.failure}"
    return f"{params}  " + " ".join(f"{name} {value:.4g}" for name, value in list(trial.run.metrics.items())[:3])


def _say_nothing(_text: str) -> None:
    return
