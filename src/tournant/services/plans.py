"""What a run of a project would do: nothing is run, recorded or resolved for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tournant.domain.params import find_param
from tournant.domain.pipeline import Step, cache_key, overlaps
from tournant.services.context import Context
from tournant.services.data import get_dataset_version
from tournant.services.environments import find_environment
from tournant.services.pipeline_inputs import names_in_store
from tournant.services.projects import load_project
from tournant.services.shared_steps import SharedSteps
from tournant.services.step_order import choose_steps
from tournant.services.steps import find_cached, step_environment

__all__ = ["Action", "PlannedStep", "plan_project"]


class Action(StrEnum):
    """What would happen to a step."""

    RUN = "run"
    CACHED = "cached"
    FETCHED = "fetched"  # from the shared step cache
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step with what would happen to it, and why."""

    step: Step
    action: Action
    reason: str = ""


def plan_project(
    ctx: Context,
    folder: Path,
    *,
    steps: Sequence[str] = (),
    force: bool = False,
    share: bool = False,
    params: Mapping[str, object] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> list[PlannedStep]:
    """Say for each step, in order, whether it would run, and why.

    Content is read into the store, and with `share` the project's `step_cache` is asked; nothing else is kept or fetched.
    """
    project = load_project(folder, provided=names_in_store(ctx), params=params)
    shared = SharedSteps(ctx, project.step_cache if share else "", on_progress or _say_nothing)
    wanted = choose_steps(project, steps)
    environment = find_environment(ctx, project)
    unlocked = project.environment is not None and environment is None
    known: dict[str, str] = {}
    for name, path in project.data.items():
        here = (folder / path).exists()
        known[path] = ctx.blobs.put_tree(folder / path).digest if here else get_dataset_version(ctx, name).digest
    plan: list[PlannedStep] = []
    for step in (step for step in project.steps if step.name in wanted):
        if step.frozen:
            plan.append(PlannedStep(step=step, action=Action.FROZEN))
            continue
        before = _find_maker(step, plan)
        if force or unlocked or before:
            reason = (
                f"it needs what {before} makes" if before else "it is forced" if force else "its environment is new"
            )
            plan.append(PlannedStep(step=step, action=Action.RUN, reason=reason))
            continue
        deps = {dep: known.get(dep) or ctx.blobs.put_tree(folder / dep).digest for dep in step.deps}
        values = {name: find_param(project.params, name) for name in step.params}
        key = cache_key(step, params=values, deps=deps, environment=step_environment(ctx, environment))
        entry, action = find_cached(ctx, key), Action.CACHED
        if entry is None and (found := shared.find(key)):
            entry, action = found.entry, Action.FETCHED
        if entry is None:
            reason = "its command, params, deps or environment are new"
            plan.append(PlannedStep(step=step, action=Action.RUN, reason=reason))
            continue
        known.update(entry.outs)
        plan.append(PlannedStep(step=step, action=action))
    return plan


def _find_maker(step: Step, plan: Sequence[PlannedStep]) -> str:
    """Name a step that would run before and makes what this one reads; empty if there is none."""
    for planned in plan:
        reads = any(overlaps(dep, path) for dep in step.deps for path in planned.step.products)
        if planned.action is Action.RUN and reads:
            return planned.step.name
    return ""


def _say_nothing(_text: str) -> None:
    return
