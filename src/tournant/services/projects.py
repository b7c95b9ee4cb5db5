"""Reads a project's `tournant.yaml`, whole: every error is told, each with its line."""

import math
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tournant.domain.pipeline import (
    EnvironmentSpec,
    ModelSpec,
    Project,
    Step,
    TestSpec,
    find_cycle,
    in_order,
    overlaps,
    producers,
)
from tournant.errors import NotFound
from tournant.services.deployment_settings import read_deployment
from tournant.services.project_schema import project_schema
from tournant.services.requirements import local_requirements, read_requirements
from tournant.services.yaml_document import Document, Problem, check, read_document, suggest

__all__ = ["PROJECT_FILE", "load_project"]

PROJECT_FILE = "tournant.yaml"
Section = Mapping[str, Any]


def load_project(folder: Path, *, provided: Collection[str] = ()) -> Project:
    """Read and check the project in `folder` (or its `tournant.yaml`); datasets in `provided` need not be on disk.

    NotFound when there is no such file; Invalid with everything that is wrong in it, as `tournant.yaml:LINE: what`.
    """
    path = folder if folder.is_file() else folder / PROJECT_FILE
    if not path.is_file():
        raise NotFound(f"there is no {PROJECT_FILE} in {folder.resolve()}. Start a project: tournant init")
    document = read_document(path.read_text(encoding="utf-8", errors="replace"), path.name)
    document.refuse(check(document, project_schema()))
    root = document.value
    assert isinstance(root, dict)  # checked against the schema
    project, problems = _build(document, root, path.parent)
    document.refuse(
        [*problems, *_check_steps(document, project), *_check_files(document, project, path.parent, provided)]
    )
    return replace(project, steps=in_order(project.steps))


def _build(document: Document, root: Section, folder: Path) -> tuple[Project, list[Problem]]:
    model = _model(root)
    data = _section(root, "data")
    problems: list[Problem] = []
    deployments = {}
    for name, settings in _section(root, "deployments").items():
        deployments[name], found = read_deployment(document, name, settings or {}, data=list(data), model=model)
        problems.extend(found)
    project = Project(
        name=root["project"],
        environment=_environment(document, root, folder),
        data={name: _clean(path) for name, path in data.items()},
        params=dict(_section(root, "params")),
        steps=tuple(_step(name, step, folder) for name, step in _section(root, "pipeline").items()),
        model=model,
        tests=tuple(TestSpec(name=test["name"], run=test["run"]) for test in root.get("tests") or ()),
        deployments=deployments,
    )
    return project, problems


def _environment(document: Document, root: Section, folder: Path) -> EnvironmentSpec | None:
    if root.get("environment") is None:
        return None
    requirements = _clean(_section(root, "environment").get("requirements", ""))
    path = folder / requirements
    return EnvironmentSpec(
        python=document.texts.get(("environment", "python"), ""),
        requirements=requirements,
        text=read_requirements(path) if requirements and path.is_file() else "",
    )


def _step(name: str, step: Section, folder: Path) -> Step:
    made = tuple(map(_clean, (*step.get("outs", ()), *step.get("metrics", ()))))
    deps = [_clean(dep) for dep in step.get("deps", ())]
    named = [
        word for word in _files_named(step["run"], folder) if not any(overlaps(word, path) for path in (*made, *deps))
    ]
    return Step(
        name=name,
        run=step["run"],
        deps=tuple(dict.fromkeys([*deps, *named])),
        params=tuple(step.get("params", ())),
        outs=tuple(map(_clean, step.get("outs", ()))),
        metrics=tuple(map(_clean, step.get("metrics", ()))),
        env={key: _text(value) for key, value in _section(step, "env").items()},
        threads=_section(step, "resources").get("threads", 1) or 1,
    )


def _files_named(command: str, folder: Path) -> Iterator[str]:
    """Give the project's own files that a command names: a script is what its step depends on, said or not."""
    try:
        words = shlex.split(command)
    except ValueError:
        return
    for word in words:
        if not word.startswith(("/", "-", "..")) and len(word) < 255 and (folder / word).is_file():
            yield _clean(word)


def _model(root: Section) -> ModelSpec | None:
    if "model" not in root:
        return None
    given = _section(root, "model")
    fields: dict[str, Any] = dict(given)
    fields.update({key: _clean(given[key]) for key in ("path", "reference", "input_example") if key in given})
    if "tolerance" in given:
        fields["tolerance"] = float(given["tolerance"])
    return ModelSpec(**{"name": root["project"], **fields})


def _check_steps(document: Document, project: Project) -> Iterator[Problem]:
    for step in project.steps:
        for index, param in enumerate(step.params):
            if param not in project.params:
                known = ", ".join(project.params) or "none"
                hint = suggest(param, list(project.params)) or f" (params: {known})"
                line = document.line("pipeline", step.name, "params", index)
                yield Problem(line, f"pipeline.{step.name}: unknown param '{param}'{hint}")
    yield from _check_outs(document, project)
    cycle = find_cycle(project.steps)
    if cycle:
        line = min(document.line("pipeline", name) for name in cycle)
        arrows = " → ".join(cycle)
        yield Problem(line, f"pipeline: the steps {arrows} wait for each other in a circle; take one of the deps out")


def _check_outs(document: Document, project: Project) -> Iterator[Problem]:
    makers: list[tuple[str, str]] = [(path, f"dataset '{name}'") for name, path in project.data.items()]
    for step in project.steps:
        for path in step.products:
            line = _line_of(document, step.name, path)
            for other, maker in makers:
                if overlaps(path, other) and maker != f"step '{step.name}'":
                    yield Problem(line, f"pipeline.{step.name}: out '{path}' belongs to {maker} already ('{other}')")
            makers.append((path, f"step '{step.name}'"))


def _check_files(document: Document, project: Project, folder: Path, provided: Collection[str]) -> Iterator[Problem]:
    made = project.products
    for name, path in project.data.items():
        if name not in provided and not (folder / path).exists():
            yield Problem(document.line("data", name), f"data.{name}: there is no file or folder '{path}'")
    waits = {} if find_cycle(project.steps) else producers(project.steps)
    for step in project.steps:
        for dep in step.deps:
            known = waits.get(step.name) is None or any(overlaps(dep, path) for path in (*made, *project.data.values()))
            if not known and not (folder / dep).exists():
                line = _line_of(document, step.name, dep)
                text = f"there is no file '{dep}', and no step makes it{suggest(dep, list(made))}"
                yield Problem(line, f"pipeline.{step.name}: {text}")
    if project.environment:
        yield from _check_environment(document, project.environment, folder)
    yield from _check_model(document, project, folder)


def _check_environment(document: Document, environment: EnvironmentSpec, folder: Path) -> Iterator[Problem]:
    path, where = environment.requirements, "environment.requirements"
    line = document.line("environment", "requirements")
    if path and not (folder / path).is_file():
        yield Problem(line, f"{where}: there is no file '{path}'")
    for local in local_requirements(environment.text):
        yield Problem(line, f"{where}: '{local}' in {path} is a path of this machine; name a package with a version")


def _check_model(document: Document, project: Project, folder: Path) -> Iterator[Problem]:
    model = project.model
    if model is None:
        return
    wanted = {"path": model.path, "reference": model.reference, "input_example": model.input_example}
    for key, path in wanted.items():
        sources = (*project.products, *project.data.values())
        if path and not any(overlaps(path, made) for made in sources) and not (folder / path).exists():
            text = f"there is no file '{path}', and no step makes it{suggest(path, list(project.products))}"
            yield Problem(document.line("model", key), f"model.{key}: {text}")


def _line_of(document: Document, step: str, path: str) -> int:
    """Give the line where a step names a path, wherever in it that is."""
    for section in ("deps", "outs", "metrics"):
        for place, text in document.texts.items():
            if place[:3] == ("pipeline", step, section) and _clean(text) == path:
                return document.line(*place)
    return document.line("pipeline", step)


def _section(values: Section, key: str) -> Section:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def _clean(path: str) -> str:
    """Write a relative path in one way.

    >>> _clean("./data//train.csv"), _clean("model/")
    ('data/train.csv', 'model')
    """
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
