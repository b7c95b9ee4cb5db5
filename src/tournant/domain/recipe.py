"""What a model is made from, and how two such recipes differ."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tournant.domain.environment import Environment, packages
from tournant.domain.machine import HASH_SEED, Machine, is_numeric, is_thread_variable, kernel_variables
from tournant.domain.params import flatten_params, written
from tournant.domain.pipeline import Project, Step
from tournant.domain.verification import Cause, Difference

__all__ = ["Recipe", "blend", "compare_environments", "compare_machines", "compare_recipes", "with_threads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that goes into a model. `code` is a snapshot's digest, `data` dataset to tree digest, `steps` those to run.

    The project has the params and threads to run with, whatever its file in the snapshot says; `variables` are set for a
    step (by name) beside its own; None takes one away.
    """

    project: Project
    code: str
    data: Mapping[str, str]
    environment: Environment | None
    steps: frozenset[str]
    variables: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)


def blend(recorded: Recipe, other: Recipe, causes: Collection[Cause]) -> Recipe:
    """Give the recorded recipe with only what `causes` name taken from the other one."""

    def source(cause: Cause) -> Recipe:
        return other if cause in causes else recorded

    code = source(Cause.CODE)
    threads = {step.name: step.threads for step in source(Cause.THREADS).project.steps}
    project = replace(
        code.project,
        params={**code.project.params, **source(Cause.PARAMS).project.params},
        steps=tuple(replace(step, threads=threads.get(step.name, step.threads)) for step in code.project.steps),
    )
    return Recipe(
        project=project,
        code=code.code,
        data={**code.data, **source(Cause.DATA).data},
        environment=source(Cause.ENVIRONMENT).environment,
        steps=code.steps,
        variables=source(Cause.KERNEL).variables,
    )


def with_threads(recipe: Recipe, threads: int) -> Recipe:
    """Give the recipe with so many threads in each step."""
    steps = tuple(replace(step, threads=threads) for step in recipe.project.steps)
    return replace(recipe, project=replace(recipe.project, steps=steps))


def compare_recipes(recorded: Recipe, other: Recipe) -> Iterator[Difference]:
    """Give what differs in params, threads, environment and the steps themselves; files of code and data are compared apart."""
    yield from _compare_params(recorded.project, other.project)
    steps = {step.name: step for step in other.project.steps}
    for step in recorded.project.steps:
        if step.name in steps:
            yield from _compare_steps(step, steps.pop(step.name))
        else:
            yield Difference(cause=Cause.CODE, name=f"step {step.name}", recorded=step.run)
    for step in steps.values():
        yield Difference(cause=Cause.CODE, name=f"step {step.name}", found=step.run)
    yield from compare_environments(recorded.environment, other.environment)


def compare_machines(recorded: Mapping[str, Machine], found: Mapping[str, Machine]) -> tuple[Difference, ...]:
    """Give the CPU kernels, C libraries and kernel variables that are not as recorded, over all steps by name."""
    differences: dict[Difference, None] = {}
    for step in sorted(recorded.keys() & found.keys()):
        differences.update(dict.fromkeys(_compare_machine(recorded[step], found[step])))
    return tuple(differences)


def _compare_machine(recorded: Machine, found: Machine) -> Iterator[Difference]:
    for library in sorted(recorded.kernels.keys() & found.kernels.keys()):
        if recorded.kernels[library] != found.kernels[library]:
            yield _kernel(library, recorded.kernels[library], found.kernels[library])
    if recorded.platform != found.platform and recorded.platform and found.platform:
        yield _kernel("platform", recorded.platform, found.platform)
    a, b = kernel_variables(recorded), kernel_variables(found)
    for name in sorted(a.keys() | b.keys()):
        if a.get(name, "") != b.get(name, ""):
            yield _kernel(name, a.get(name, ""), b.get(name, ""))


def _kernel(name: str, recorded: str, found: str) -> Difference:
    return Difference(cause=Cause.KERNEL, name=name, recorded=recorded, found=found)


def _compare_params(recorded: Project, other: Project) -> Iterator[Difference]:
    ours, theirs = flatten_params(recorded.params), flatten_params(other.params)
    for name in sorted(ours.keys() | theirs.keys()):
        a, b = (written(params[name]) if name in params else "" for params in (ours, theirs))
        if a != b:
            yield Difference(cause=Cause.PARAMS, name=name, recorded=a, found=b)


def _compare_steps(recorded: Step, other: Step) -> Iterator[Difference]:
    if recorded.threads != other.threads:
        yield Difference(
            cause=Cause.THREADS,
            name=f"threads of {recorded.name}",
            recorded=str(recorded.threads),
            found=str(other.threads),
        )
    if recorded.source != other.source:
        yield Difference(
            cause=Cause.CODE, name=f"command of {recorded.name}", recorded=recorded.source, found=other.source
        )
    for name in sorted(recorded.env.keys() | other.env.keys()):
        a, b = recorded.env.get(name, ""), other.env.get(name, "")
        if a != b:
            yield Difference(cause=_cause_of(name), name=f"{name} of {recorded.name}", recorded=a, found=b)


def _cause_of(variable: str) -> Cause:
    if variable == HASH_SEED:
        return Cause.SEED
    if is_thread_variable(variable):
        return Cause.THREADS
    return Cause.KERNEL if is_numeric(variable) else Cause.CODE


def compare_environments(recorded: Environment | None, other: Environment | None) -> Iterator[Difference]:
    """Give the packages, and the Python, that differ; None is tournant's own Python."""
    if recorded is None or other is None:
        if recorded is not other:
            names = [f"Python {env.python}, locked" if env else "tournant's own" for env in (recorded, other)]
            yield Difference(cause=Cause.ENVIRONMENT, name="environment", recorded=names[0], found=names[1])
        return
    if recorded.python != other.python:
        yield Difference(cause=Cause.ENVIRONMENT, name="Python", recorded=recorded.python, found=other.python)
    a, b = packages(recorded.lock), packages(other.lock)
    found = False
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            found = True
            yield Difference(cause=Cause.ENVIRONMENT, name=name, recorded=a.get(name, ""), found=b.get(name, ""))
    if not found and recorded.lock != other.lock:  # the same versions from other files
        yield Difference(cause=Cause.ENVIRONMENT, name="hashes in the lock")
