"""Requirements, read from whatever a project states them in, and held to what can be locked for another machine."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tournant.errors import Invalid
from tournant.services.yaml_document import read_document

__all__ = ["local_requirements", "read_requirements"]

_INCLUDES = ("-r ", "--requirement ", "--requirement=")
_LOCAL = ("-e ", "--editable", "./", "../", "/", "file:")
_CONDA = (".yml", ".yaml")


def read_requirements(path: Path) -> str:
    """Give the requirements that a file states, one a line, as pip writes them.

    A `pyproject.toml` states its project's dependencies, a `uv.lock` exact versions, a conda file (`.yml`) those of its pip
    part; anything else is a requirements file, with the files it includes by `-r` in their place (one that is missing stays
    as it is). Invalid when it cannot be read.
    """
    try:
        lines = list(_read(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise Invalid(f"{path.name} cannot be read: {exc}", place=path.name) from exc
    return "".join(f"{line}\n" for line in lines)


def _read(path: Path) -> Iterator[str]:
    if path.name == "uv.lock":
        return _locked_by_uv(tomllib.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".toml":
        return _of_project(path.name, tomllib.loads(path.read_text(encoding="utf-8")))
    if path.suffix in _CONDA:
        return _of_conda(path.name, read_document(path.read_text(encoding="utf-8"), path.name).value)
    return _lines(path, ())


def local_requirements(text: str) -> list[str]:
    r"""Give the requirements that are files or folders of this machine, and so would mean nothing on another.

    >>> local_requirements("numpy>=2\n-e .\n./wheels/own.whl\nown @ file:///x.whl")
    ['-e .', './wheels/own.whl', 'own @ file:///x.whl']
    """
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith(_LOCAL) or line == "." or " file:" in line]


def _lines(path: Path, including: tuple[Path, ...]) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.strip()
        included = next((text.removeprefix(start).strip() for start in _INCLUDES if text.startswith(start)), "")
        target = (path.parent / included).resolve() if included else path
        if included and target.is_file() and target not in including:
            yield from _lines(target, (*including, target))
        else:
            yield line


def _of_project(name: str, content: Mapping[str, Any]) -> Iterator[str]:
    project = content.get("project")
    if not isinstance(project, Mapping):
        raise Invalid(f"{name} has no [project] section, so it states no dependencies", place=name)
    return map(str, project.get("dependencies", ()))


def _locked_by_uv(content: Mapping[str, Any]) -> Iterator[str]:
    """Give a pin for each package of a registry; where there are several versions of one, each with its markers."""
    for package in content.get("package", ()):
        if "registry" in package.get("source", {}):
            pin = f"{package['name']}=={package['version']}"
            markers: Sequence[str] = package.get("resolution-markers", ())
            yield f"{pin} ; {' or '.join(f'({marker})' for marker in markers)}" if markers else pin


def _of_conda(name: str, content: object) -> Iterator[str]:
    dependencies = content.get("dependencies") if isinstance(content, Mapping) else None
    if not isinstance(dependencies, list):
        raise Invalid(f"{name} has no list of dependencies: is it a conda environment file?", place=name)
    parts = [entry["pip"] for entry in dependencies if isinstance(entry, Mapping) and "pip" in entry]
    if not parts:
        raise Invalid(
            f"{name} has no pip part, and packages of conda itself cannot be locked: name what is needed under `pip:`",
            place=name,
        )
    return (str(line) for part in parts for line in part or ())
