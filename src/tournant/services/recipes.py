"""Recipes of models: as a version's record has it, or as a project's folder has it now; and where their files differ."""

import difflib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tournant.domain.data import DatasetVersion
from tournant.domain.machine import Machine, StepMachine, kernel_variables, pin_kernels, restore_variables
from tournant.domain.params import flatten_params, written
from tournant.domain.pipeline import Project
from tournant.domain.recipe import Recipe
from tournant.domain.registry import ModelVersion
from tournant.domain.tracking import StepRun
from tournant.domain.verification import Cause, Difference
from tournant.errors import Invalid, NotFound
from tournant.services.code import capture_code
from tournant.services.context import Context
from tournant.services.environments import capture_environment, get_environment
from tournant.services.pipeline_inputs import names_in_store
from tournant.services.projects import PROJECT_FILE, load_project
from tournant.services.steps import own_interpreter
from tournant.services.tracking import get_run

__all__ = [
    "compare_files",
    "folder_recipe",
    "load_snapshot",
    "pinned_variables",
    "recorded_machines",
    "recorded_outs",
    "recorded_recipe",
    "render_recipe",
    "restored_variables",
]

_TEXT_BYTES = 20_000_000  # larger files are only told to differ


def recorded_recipe(ctx: Context, version: ModelVersion) -> Recipe:
    """Give what a version's record says it was made from; Invalid when the record does not have it all."""
    run = get_run(ctx, version.run) if version.run else None
    with ctx.transactions.begin(write=False) as uow:
        steps = uow.find(StepRun, run=version.run) if version.run else []
        datasets = uow.find(DatasetVersion, id__in=list(version.datasets)) if version.datasets else []
    if run is None or not run.code or not steps:
        raise Invalid(
            f"{version.id} cannot be recreated: it has no run of a pipeline on record (it was registered from a file, or "
            "logged by a script). Make one that can: put its training in a tournant.yaml, then: tournant run"
        )
    data = {dataset.dataset: dataset.digest for dataset in datasets}
    as_written = load_snapshot(ctx, run.code, data, {})
    project = load_snapshot(ctx, run.code, data, _recorded_params(as_written, run.params))
    missing = [name for name in project.data if name not in data]
    if missing:
        raise Invalid(f"{version.id} cannot be recreated: no version of dataset {missing[0]!r} is on its record")
    return Recipe(
        project=project,
        code=run.code,
        data=data,
        environment=get_environment(ctx, run.environment) if run.environment else None,
        steps=frozenset(step.step for step in steps),
    )


def folder_recipe(ctx: Context, folder: Path, recorded: Recipe) -> Recipe:
    """Give what a run in a project's folder would be made from now; data that is not there is taken as recorded."""
    project = load_project(folder, provided={*recorded.data, *names_in_store(ctx)})
    present = {name: path for name, path in project.data.items() if (folder / path).exists()}
    absent = [name for name in project.data if name not in present and name not in recorded.data]
    if absent:
        raise NotFound(f"dataset {absent[0]!r} is neither in {folder} nor on the version's record")
    here = {name: ctx.blobs.put_tree(folder / path).digest for name, path in present.items()}
    return Recipe(
        project=project,
        code=capture_code(ctx, project, folder),
        data={name: here.get(name) or recorded.data[name] for name in project.data},
        environment=capture_environment(ctx, project),
        steps=frozenset(step.name for step in project.steps),
    )


def recorded_machines(ctx: Context, run: str) -> dict[str, Machine]:
    """Give the machine of each step of a run, as far as it was recorded."""
    with ctx.transactions.begin(write=False) as uow:
        return {found.step: found.machine for found in uow.find(StepMachine, run=run)}


def recorded_outs(ctx: Context, run: str) -> dict[str, str]:
    """Give path to digest of all that the steps of a run made."""
    with ctx.transactions.begin(write=False) as uow:
        return {path: digest for step in uow.find(StepRun, run=run) for path, digest in step.outs.items()}


def restored_variables(ctx: Context, machines: Mapping[str, Machine]) -> dict[str, dict[str, str | None]]:
    """Give each step the kernel variables it was recorded with, where they are not set otherwise here."""
    here = ctx.settings.environ
    return {
        step: {name: value for name, value in kernel_variables(machine).items() if name not in here}
        for step, machine in machines.items()
    }


def pinned_variables(ctx: Context, recipe: Recipe, machines: Mapping[str, Machine]) -> dict[str, dict[str, str | None]]:
    """Give each step the variables under which it gets the recorded CPU kernels, as far as libraries can be told."""
    python = ctx.environments.build(recipe.environment) if recipe.environment else own_interpreter()
    pinned = {}
    for step, machine in machines.items():
        restored = restore_variables(machine, ctx.settings.environ)
        natural = ctx.environments.machine(python, ctx.settings.child_environ(restored))
        pinned[step] = {**restored, **pin_kernels(machine, natural)}
    return pinned


def compare_files(ctx: Context, recorded: Recipe, other: Recipe) -> Iterator[Difference]:
    """Give the files of code and data that differ; what is compared otherwise (project file, requirements) is left out."""
    if recorded.code != other.code:
        apart = {
            PROJECT_FILE,
            *(p.environment.requirements for p in (recorded.project, other.project) if p.environment),
        }
        yield from _compare_trees(ctx, Cause.CODE, recorded.code, other.code, "", apart)
    for name in sorted(recorded.data.keys() | other.data.keys()):
        a, b = recorded.data.get(name, ""), other.data.get(name, "")
        if a != b:
            yield from _compare_trees(ctx, Cause.DATA, a, b, f"{name}: ", set())


def _compare_trees(
    ctx: Context, cause: Cause, recorded: str, other: str, prefix: str, apart: set[str]
) -> Iterator[Difference]:
    a = ctx.blobs.tree(recorded).files if recorded else {}
    b = ctx.blobs.tree(other).files if other else {}
    for path in sorted((a.keys() | b.keys()) - apart):
        old, new = a.get(path), b.get(path)
        if old and new and old.digest == new.digest:
            continue
        name = prefix + path
        if old is None or new is None:
            there, gone = ("", "there") if old is None else ("there", "")
            yield Difference(cause=cause, name=name, recorded=there, found=gone)
            continue
        words = (
            _compare_texts(ctx, cause, old.digest, new.digest)
            if max(old.size_bytes, new.size_bytes) < _TEXT_BYTES
            else ""
        )
        yield Difference(cause=cause, name=f"{name}{words}")


def _compare_texts(ctx: Context, cause: Cause, recorded: str, other: str) -> str:
    """Say in which lines two texts differ: the first pair of them for code, how many for data. Empty for no texts."""
    try:
        a, b = (ctx.blobs.path(digest).read_text(encoding="utf-8").splitlines() for digest in (recorded, other))
    except UnicodeDecodeError:
        return ""
    if cause is Cause.DATA:
        gone, new = Counter(a) - Counter(b), Counter(b) - Counter(a)
        moved = " (rows in another order)" if not gone and not new else ""
        return moved or f" (−{gone.total()} +{new.total()} of {len(a)} rows)"
    lines = [line for line in difflib.unified_diff(a, b, n=0, lineterm="") if line[:3] not in ("---", "+++")]
    place = lines[0].split()[1].partition(",")[0].lstrip("-") if lines else ""
    changes = [f"{line[0]} {line[1:].strip()}" for line in lines if line[0] in "+-"]
    more = f" and {len(changes) - 2} lines more" if len(changes) > 2 else ""
    return f":{place} ({' '.join(changes[:2])}{more})" if changes else " (line ends)"


def render_recipe(ctx: Context, recipe: Recipe) -> Recipe:
    """Put the recipe's params into the commands of its code's steps, which may name them; threads stay."""
    project = load_snapshot(ctx, recipe.code, recipe.data, flatten_params(recipe.project.params))
    threads = {step.name: step.threads for step in recipe.project.steps}
    steps = tuple(replace(step, threads=threads.get(step.name, step.threads)) for step in project.steps)
    return replace(recipe, project=replace(project, steps=steps))


def load_snapshot(ctx: Context, code: str, data: Mapping[str, str], params: Mapping[str, object]) -> Project:
    """Read the project in a code snapshot, with params in the place of its own where it has such."""
    with TemporaryDirectory(prefix="tournant-") as temporary:
        folder = Path(temporary) / "code"
        ctx.blobs.checkout(code, folder)
        provided = [*data, *names_in_store(ctx)]
        project = load_project(folder, provided=provided)
        own = flatten_params(project.params)
        values = {name: value for name, value in params.items() if name in own and own[name] != value}
        return load_project(folder, provided=provided, params=values) if values else project


def _recorded_params(project: Project, recorded: Mapping[str, str]) -> dict[str, object]:
    """Read recorded params back: texts were recorded as they are, all else as JSON."""
    own = flatten_params(project.params)
    return {
        name: own[name] if name in own and written(own[name]) == text else _value(text)
        for name, text in recorded.items()
    }


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
