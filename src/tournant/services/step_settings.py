"""Reads a project's steps: repeated ones spread out, and params put in the place of their names."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tournant.domain.params import find_param, flatten_params, render, spread_items, unknown_names
from tournant.domain.pipeline import Step, overlaps
from tournant.services.durations import seconds_of
from tournant.services.yaml_document import Document, Problem, suggest

__all__ = ["clean_path", "read_steps"]

Section = Mapping[str, Any]
_ESCAPES = re.compile(r"^/|(^|/)\.\.(/|$)|^\s*$")
_WHOLE = re.compile(r"\$\{([^{}$]*)\}")
_PATHS = ("deps", "outs", "metrics", "plots")


def read_steps(
    document: Document, pipeline: Section, params: Mapping[str, object], folder: Path
) -> tuple[tuple[Step, ...], list[Problem]]:
    """Give the steps in the order of the file; a step with `foreach` or `matrix` is one for each item, named STEP.ITEM."""
    steps: dict[str, Step] = {}
    problems: list[Problem] = []
    for name, section in pipeline.items():
        line = document.line("pipeline", name)
        given = section or {}
        try:
            items = _items(given, params)
        except KeyError as exc:
            problems.append(Problem(line, f"pipeline.{name}: unknown param '{exc.args[0]}'"))
            continue
        if items is not None and not items:
            problems.append(Problem(line, f"pipeline.{name}: there is nothing to repeat it over"))
        for text, values in [("", {})] if items is None else items:
            own = f"{name}.{text}" if text else name
            if own in steps:
                problems.append(Problem(line, f"pipeline.{name}: two items give a step of the name '{own}'"))
            known = {**params, **values}
            problems.extend(_check_names(document, name, known))
            steps[own] = _step(own, name, _rendered(given, known), given["run"], folder)
            problems.extend(_check_paths(document, steps[own]))
    return tuple(steps.values()), problems


def clean_path(path: str) -> str:
    """Write a relative path in one way.

    >>> clean_path("./data//train.csv"), clean_path("model/")
    ('data/train.csv', 'model')
    """
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _items(given: Section, params: Mapping[str, object]) -> list[tuple[str, dict[str, object]]] | None:
    if "foreach" not in given and "matrix" not in given:
        return None
    foreach = _value(given.get("foreach"), params)
    matrix = {key: _value(values, params) for key, values in (given.get("matrix") or {}).items()}
    return spread_items(
        foreach, {key: values if isinstance(values, list) else [values] for key, values in matrix.items()}
    )


def _value(given: object, params: Mapping[str, object]) -> Any:
    """Give a value, or the param that stands there as `${name}`."""
    whole = _WHOLE.fullmatch(given.strip()) if isinstance(given, str) else None
    return find_param(params, whole[1].strip()) if whole else given


def _rendered(given: Any, values: Mapping[str, object]) -> Any:
    if isinstance(given, str):
        return render(given, values)
    if isinstance(given, list):
        return [_rendered(item, values) for item in given]
    if isinstance(given, Mapping):
        return {key: _rendered(item, values) for key, item in given.items()}
    return given


def _check_names(document: Document, name: str, values: Mapping[str, object]) -> Iterator[Problem]:
    for place, text in document.texts.items():
        if place[:2] == ("pipeline", name) and place[2:3] not in (("foreach",), ("matrix",)):
            for unknown in unknown_names(text, values):
                names = list(flatten_params(values))
                hint = suggest(unknown, names) or f" (known: {', '.join(names) or 'none'})"
                yield Problem(document.line(*place), f"pipeline.{name}: unknown param '{unknown}' in a text{hint}")


def _check_paths(document: Document, step: Step) -> Iterator[Problem]:
    for path in (*step.deps, *step.products):
        if _ESCAPES.search(path):
            line = document.line("pipeline", step.defined_as)
            yield Problem(line, f"pipeline.{step.name}: '{path}' is no path inside the project's folder")


def _step(name: str, defined_as: str, step: Section, source: str, folder: Path) -> Step:
    made = {kind: tuple(map(clean_path, step.get(kind, ()))) for kind in _PATHS}
    products = [path for kind in ("outs", "metrics", "plots") for path in made[kind]]
    deps = made["deps"]
    named = [
        word for word in _files_named(step["run"], folder) if not any(overlaps(word, p) for p in (*products, *deps))
    ]
    return Step(
        name=name,
        run=step["run"],
        deps=tuple(dict.fromkeys([*deps, *named])),
        params=tuple(step.get("params", ())),
        outs=made["outs"],
        metrics=made["metrics"],
        plots=made["plots"],
        env={key: _text(value) for key, value in (step.get("env") or {}).items()},
        threads=(step.get("resources") or {}).get("threads", 1) or 1,
        frozen=step.get("frozen", False),
        retries=step.get("retries", 0),
        timeout_seconds=seconds_of(step.get("timeout", 0)),
        defined_as=defined_as,
        source=source,
    )


def _files_named(command: str, folder: Path) -> Iterator[str]:
    """Give the project's own files that a command names: a script is what its step depends on, said or not."""
    try:
        words = shlex.split(command)
    except ValueError:
        return
    for word in words:
        if not word.startswith(("/", "-", "..")) and len(word) < 255 and (folder / word).is_file():
            yield clean_path(word)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
