"""From a project or a bare file to a registered model version."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tournant.domain.environment import Environment
from tournant.domain.pipeline import ModelSpec, Project, overlaps
from tournant.domain.registry import ModelVersion
from tournant.errors import Invalid, NotFound
from tournant.services.aliases import protect_aliases
from tournant.services.context import Context
from tournant.services.environments import lock_requirements
from tournant.services.model_files import ModelFolder, open_model_folder, requirements_of
from tournant.services.native_models import add_entry, native_format
from tournant.services.registry import Provenance, Reference, list_versions, register_model
from tournant.services.requirements import read_requirements

__all__ = ["check_deployable_name", "makes_model", "register_file", "register_project_model"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")  # of a deployment too


def makes_model(project: Project, steps: frozenset[str]) -> bool:
    """Tell whether a run of these steps ends with a model to register: whatever makes it has run."""
    model = project.model
    if model is None:
        return False
    makers = {step.name for step in project.steps if any(overlaps(model.path, path) for path in step.products)}
    return makers <= steps


def register_project_model(
    ctx: Context,
    project: Project,
    folder: Path,
    environment: Environment | None,
    provenance: Provenance,
    *,
    say: Callable[[str], None],
) -> ModelVersion:
    """Register the model a project has made.

    The newest version is given back when its model, code, data and environment are the same (a run with tags always makes
    a new one). Without an environment of the project's own, the model's packages are locked as they are installed here.
    """
    spec = project.model
    assert spec is not None  # see makes_model
    with _as_folder(folder / spec.path) as (path, file):
        example = folder / spec.input_example if spec.input_example else None
        model = _open(path, file, entry=spec.entry, flavor=spec.flavor, example=example)
        environment = _environment_of(ctx, model, file, environment)
        unchanged = None if provenance.tags else _find_unchanged(ctx, spec.name, model, environment, provenance)
        if unchanged:
            say(f"{unchanged.id}: unchanged")
            return _protected(ctx, spec, unchanged)
        say(f"{spec.name}: registering and converting")
        version = register_model(
            ctx,
            model,
            name=spec.name,
            environment=environment,
            predict=spec.predict,
            provenance=provenance,
            reference=_reference(spec, folder),
            tolerance=spec.tolerance,
        )
    return _protected(ctx, spec, version)


def _protected(ctx: Context, spec: ModelSpec, version: ModelVersion) -> ModelVersion:
    """See that the aliases which the project protects are."""
    if spec.protected_aliases is not None:
        protect_aliases(ctx, version.model, spec.protected_aliases)
    return version


def register_file(
    ctx: Context,
    path: Path,
    *,
    name: str,
    requirements: Path | None = None,
    example: Path | None = None,
    python: str = "",
    tolerance: float = 1e-4,
) -> ModelVersion:
    """Register a bare model file, with no pipeline.

    An ONNX file needs no environment. Another's is locked from `requirements`, else from the versions that stand in the
    file and from what is installed here; Invalid when that cannot be told. The same file again is the newest version again.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    check_deployable_name(name)
    with _as_folder(path) as (folder, file):
        model = _open(folder, file, example=example)
        text = read_requirements(requirements) if requirements else None
        environment = _environment_of(ctx, model, file, None, requirements=text, python=python)
        provenance = Provenance(tags={"source": path.name})
        unchanged = _find_unchanged(ctx, name, model, environment, provenance)
        if unchanged:
            return unchanged
        return register_model(
            ctx, model, name=name, environment=environment, provenance=provenance, tolerance=tolerance
        )


def check_deployable_name(name: str) -> None:
    """Invalid unless a model and a deployment may have the name."""
    if not _NAME.fullmatch(name):
        words = "letters, digits, '_', '.', '-', at most 63"
        raise Invalid(f"{name!r} is no name of a model: {words}. Give it one: --name", place="name")


@contextmanager
def _as_folder(path: Path) -> Iterator[tuple[Path, str]]:
    """Give a model's folder, and the name of its file if that is what was named: it gets a folder of its own."""
    if not path.exists():
        raise NotFound(f"the model {path} is not there")
    if path.is_dir():
        yield path, ""
        return
    with TemporaryDirectory(prefix="tournant-") as temporary:
        shutil.copyfile(path, Path(temporary) / path.name)
        yield Path(temporary), path.name


def _open(folder: Path, file: str, *, entry: str = "", flavor: str = "", example: Path | None = None) -> ModelFolder:
    """Open a model's folder; what a library wrote in a format of its own gets an entry that loads it."""
    native = native_format(folder / file) if file and not entry else None
    if native:
        return open_model_folder(
            folder, entry=add_entry(folder, native), flavor=flavor or native.flavor, example=example
        )
    return open_model_folder(folder, entry=entry or file, flavor=flavor, example=example)


def _environment_of(
    ctx: Context,
    model: ModelFolder,
    file: str,
    environment: Environment | None,
    *,
    requirements: str | None = None,
    python: str = "",
) -> Environment | None:
    if model.flavor == "onnx":
        return None
    if environment:
        return environment
    text = requirements_of(model.path / (file or model.entry)) if requirements is None else requirements
    return lock_requirements(ctx, python=python, requirements=text)


def _reference(spec: ModelSpec, folder: Path) -> Reference | None:
    if not spec.reference:
        return None
    path = folder / spec.reference
    if not path.is_file() or not _is_parquet(path):
        raise Invalid(f"model.reference {spec.reference!r} is not a Parquet file", place="model.reference")
    return Reference(path=path, label=spec.label, time=spec.time)


def _find_unchanged(
    ctx: Context, name: str, model: ModelFolder, environment: Environment | None, provenance: Provenance
) -> ModelVersion | None:
    newest = next(iter(list_versions(ctx, name)), None)
    if newest is None:
        return None
    digest = ctx.blobs.put_tree(model.path).digest
    wanted = (digest, provenance.code, provenance.datasets, environment.digest if environment else "")
    found = (newest.digest, newest.code, newest.datasets, newest.environment)
    return newest if wanted == found else None


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"
