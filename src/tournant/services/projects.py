"""Reads a project's `tournant.yaml`, whole: every error is told, each with its line."""

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tournant.domain.params import find_param, flatten_params, with_param
from tournant.domain.pipeline import (
    EnvironmentSpec,
    ModelSpec,
    Project,
    TestSpec,
    find_cycle,
    in_order,
    overlaps,
    producers,
)
from tournant.errors import Invalid, NotFound
from tournant.services.deployment_settings import read_deployment
from tournant.services.project_schema import project_schema
from tournant.services.requirements import local_requirements, read_requirements
from tournant.services.step_settings import clean_path, read_steps
from tournant.services.yaml_document import Document, Problem, check, read_document, suggest

__all__ = ["PROJECT_FILE", "load_project"]

PROJECT_FILE = "tournant.yaml"
Section = Mapping[str, Any]


def load_project(
    folder: Path, *, provided: Collection[str] = (), params: Mapping[str, object] | None = None
) -> Project:
    """Read and check the project in `folder` (or its `tournant.yaml`); datasets in `provided` need not be on disk.

    `params` go in the place of the file's own, by dotted name; NotFound for one that it does not have.

    NotFound when there is no such file; Invalid with everything that is wrong in it, as `tournant.yaml:LINE: what`.
    """
    path = folder if folder.is_file() else folder / PROJECT_FILE
    if not path.is_file():
        raise NotFound(f"there is no {PROJECT_FILE} in {folder.resolve()}. Start a project: tournant init")
    document = read_document(path.read_text(encoding="utf-8", errors="replace"), path.name)
    document.refuse(check(document, project_schema()))
    root = document.value
    assert isinstance(root, dict)  # checked against the schema
    project, problems = _build(document, root, path.parent, params or {})
    document.refuse(
        [*problems, *_check_steps(document, project), *_check_files(document, project, path.parent, provided)]
    )
    return replace(project, steps=in_order(project.steps))


def _build(
    document: Document, root: Section, folder: Path, replaced: Mapping[str, object]
) -> tuple[Project, list[Problem]]:
    model = _model(root)
    data = _section(root, "data")
    problems: list[Problem] = []
    deployments = {}
    for name, settings in _section(root, "deployments").items():
        deployments[name], found = read_deployment(document, name, settings or {}, data=list(data), model=model)
        problems.extend(found)
    params, found = _params(document, root, folder, replaced)
    steps, wrong = read_steps(document, _section(root, "pipeline"), params, folder)
    problems += [*found, *wrong]
    project = Project(
        name=root["project"],
        environment=_environment(document, root, folder),
        data={name: clean_path(path) for name, path in data.items()},
        params=params,
        params_files=tuple(map(clean_path, root.get("params_files") or ())),
        step_cache=root.get("step_cache", ""),
        steps=steps,
        model=model,
        tests=tuple(TestSpec(name=test["name"], run=test["run"]) for test in root.get("tests") or ()),
        deployments=deployments,
    )
    return project, problems


def _params(
    document: Document, root: Section, folder: Path, replaced: Mapping[str, object]
) -> tuple[dict[str, object], list[Problem]]:
    """Give the params of the params files, over them the file's own, and over those the replaced ones."""
    params: dict[str, object] = {}
    problems: list[Problem] = []
    for index, name in enumerate(root.get("params_files") or ()):
        line = document.line("params_files", index)
        try:
            params.update(_read_params(folder / clean_path(name)))
        except FileNotFoundError:
            problems.append(Problem(line, f"params_files: there is no file '{name}'"))
        except (Invalid, ValueError) as exc:
            problems.append(Problem(line, f"params_files: '{name}' cannot be read: {exc}"))
    params.update(_section(root, "params"))
    for name, value in replaced.items():
        try:
            find_param(params, name)
        except KeyError:
            names = list(flatten_params(params))
            hint = suggest(name, names) or f" (it has: {', '.join(names) or 'none'})"
            raise NotFound(f"the project has no param {name!r}{hint}") from None
        params = with_param(params, name, value)
    return params, problems


def _read_params(path: Path) -> dict[str, object]:
    text = path.read_text(encoding="utf-8")
    values = tomllib.loads(text) if path.suffix == ".toml" else read_document(text, path.name).value
    if not isinstance(values, dict):
        raise Invalid("expected a section of `key: value`")
    return values


def _environment(document: Document, root: Section, folder: Path) -> EnvironmentSpec | None:
    if root.get("environment") is None:
        return None
    requirements = clean_path(_section(root, "environment").get("requirements", ""))
    path = folder / requirements
    return EnvironmentSpec(
        python=document.texts.get(("environment", "python"), ""),
        requirements=requirements,
        text=read_requirements(path) if requirements and path.is_file() else "",
    )


def _model(root: Section) -> ModelSpec | None:
    if "model" not in root:
        return None
    given = _section(root, "model")
    fields: dict[str, Any] = dict(given)
    fields.update({key: clean_path(given[key]) for key in ("path", "reference", "input_example") if key in given})
    if "tolerance" in given:
        fields["tolerance"] = float(given["tolerance"])
    if "protected_aliases" in given:
        fields["protected_aliases"] = tuple(given["protected_aliases"])
    return ModelSpec(**{"name": root["project"], **fields})


def _check_steps(document: Document, project: Project) -> Iterator[Problem]:
    for step in project.steps:
        for index, param in enumerate(step.params):
            if not _has_param(project, param):
                names = list(flatten_params(project.params))
                hint = suggest(param, names) or f" (params: {', '.join(names) or 'none'})"
                line = document.line("pipeline", step.defined_as, "params", index)
                yield Problem(line, f"pipeline.{step.name}: unknown param '{param}'{hint}")
    yield from _check_outs(document, project)
    cycle = find_cycle(project.steps)
    if cycle:
        defined = {step.name: step.defined_as for step in project.steps}
        line = min(document.line("pipeline", defined[name]) for name in cycle)
        arrows = " → ".join(cycle)
        yield Problem(line, f"pipeline: the steps {arrows} wait for each other in a circle; take one of the deps out")


def _has_param(project: Project, name: str) -> bool:
    try:
        find_param(project.params, name)
    except KeyError:
        return False
    return True


def _check_outs(document: Document, project: Project) -> Iterator[Problem]:
    makers: list[tuple[str, str]] = [(path, f"dataset '{name}'") for name, path in project.data.items()]
    for step in project.steps:
        for path in step.products:
            line = _line_of(document, step.defined_as, path)
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
                line = _line_of(document, step.defined_as, dep)
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
    for section in ("deps", "outs", "metrics", "plots"):
        for place, text in document.texts.items():
            if place[:3] == ("pipeline", step, section) and clean_path(text) == path:
                return document.line(*place)
    return document.line("pipeline", step)


def _section(values: Section, key: str) -> Section:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}
