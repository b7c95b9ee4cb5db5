"""Registered models: immutable versions with all that is needed to serve and recreate them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tournant.domain.data import DatasetVersion
from tournant.domain.deployment import Revision
from tournant.domain.environment import Environment
from tournant.domain.registry import Conversion, ConversionStatus, ModelAlias, ModelVersion, RegisteredModel, Signature
from tournant.domain.tracking import Run
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import Columns, ConversionRequest, Inspection, InspectionRequest, UnitOfWork
from tournant.services.aliases import ask_alias
from tournant.services.context import Context
from tournant.services.lookup import get_record
from tournant.services.model_files import ModelFolder
from tournant.services.registered_models import require_model

__all__ = [
    "Lineage",
    "Provenance",
    "Reference",
    "get_model",
    "get_version",
    "lineage",
    "list_models",
    "list_versions",
    "next_number",
    "prepare_version",
    "register_model",
]

_EXAMPLE_ROWS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a model version comes from."""

    run: str = ""
    code: str = ""
    commit: str = ""
    datasets: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A Parquet file of rows that the model did not learn from, and which of its columns are no inputs."""

    path: Path
    label: str = ""
    time: str = ""


def register_model(
    ctx: Context,
    folder: ModelFolder,
    *,
    name: str,
    environment: Environment | None,
    predict: str = "",
    provenance: Provenance | None = None,
    reference: Reference | None = None,
    tolerance: float = 1e-4,
    alias: str = "",
) -> ModelVersion:
    """Look into a model folder, convert it, and keep all of it as the next version of the model `name`.

    `environment` is None for the flavor `onnx` only. Invalid when the model does not load or predict its example, or when
    the reference rows are not what it takes; a model that merely does not convert is registered with the reason.
    """
    fields = _serving_fields(ctx, folder, environment, predict=predict, reference=reference, tolerance=tolerance)
    return _keep_version(ctx, name, alias, {**fields, **_provenance_fields(provenance or Provenance())})


def prepare_version(
    ctx: Context, version: ModelVersion, folder: ModelFolder, environment: Environment | None
) -> ModelVersion:
    """Make a version servable that was only pointed to: look into its folder, convert it, and keep all of it."""
    fields = _serving_fields(ctx, folder, environment, predict="", reference=None, tolerance=1e-4)
    prepared = replace(version, **fields)
    with ctx.transactions.begin() as uow:
        uow.save(prepared)
        summary = f"{version.id} prepared for serving; conversion {prepared.conversion.status.value}"
        uow.record(ctx.event("model.version_prepared", f"model/{version.model}", summary, version=version.id))
    return prepared


def _serving_fields(
    ctx: Context,
    folder: ModelFolder,
    environment: Environment | None,
    *,
    predict: str,
    reference: Reference | None,
    tolerance: float,
) -> dict[str, Any]:
    inspection = _inspect(ctx, folder, predict, environment, reference)
    if reference:
        _check_reference(ctx, reference, inspection.signature)
    conversion = _convert(ctx, folder, inspection, environment, reference, tolerance)
    return {
        "digest": ctx.blobs.put_tree(folder.path).digest,
        "flavor": folder.flavor,
        "entry": folder.entry,
        "predict": inspection.predict,
        "signature": inspection.signature,
        "example": inspection.example,
        "environment": environment.digest if environment else "",
        "conversion": conversion,
        **_reference_fields(ctx, reference),
    }


def _convert(
    ctx: Context,
    folder: ModelFolder,
    inspection: Inspection,
    environment: Environment | None,
    reference: Reference | None,
    tolerance: float,
) -> Conversion:
    with TemporaryDirectory(prefix="tournant-") as temporary:
        target = Path(temporary) / "model.onnx"
        conversion = ctx.converter.convert(
            ConversionRequest(
                folder=folder.path,
                entry=folder.entry,
                flavor=folder.flavor,
                predict=inspection.predict,
                signature=inspection.signature,
                example=inspection.example,
                environment=environment,
                sample=reference.path if reference else None,
                tolerance=tolerance,
                target=target,
            )
        )
        if conversion.status not in (ConversionStatus.SUCCESSFUL, ConversionStatus.NATIVE):
            return conversion
        onnx = target if target.is_file() else folder.path / folder.entry
        with onnx.open("rb") as content:
            return replace(conversion, digest=ctx.blobs.put(content))


def _inspect(
    ctx: Context, folder: ModelFolder, predict: str, environment: Environment | None, reference: Reference | None
) -> Inspection:
    """Look into a model with its example; without one, with what the model knows of its columns and the reference rows."""

    def inspect(example: Sequence[Mapping[str, object]]) -> Inspection:
        request = InspectionRequest(
            folder=folder.path,
            entry=folder.entry,
            flavor=folder.flavor,
            predict=predict,
            example=example,
            environment=environment,
        )
        return ctx.converter.inspect(request)

    if folder.example or reference is None:
        return inspect(folder.example)
    columns = ctx.predictions.sample(reference.path, _EXAMPLE_ROWS)
    apart = (reference.label, reference.time)
    try:
        found = inspect(())
    except Invalid:  # it does not tell its columns, or takes no zeros: then all columns but the label and the time
        return inspect(_rows(columns, [name for name in columns if name not in apart]))
    names = [column.name for column in found.signature.inputs]
    return inspect(_rows(columns, names)) if all(name in columns for name in names) else found


def _rows(columns: Columns, names: Sequence[str]) -> list[Mapping[str, object]]:
    values = [columns[name].tolist() for name in names]
    return [
        {name: None if value != value else value for name, value in zip(names, row, strict=True)}
        for row in zip(*values, strict=True)
    ]


def _check_reference(ctx: Context, reference: Reference, signature: Signature) -> None:
    columns = ctx.predictions.sample(reference.path, 1)
    wanted = [*(column.name for column in signature.inputs), *filter(None, (reference.label, reference.time))]
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise Invalid(
            f"the reference rows {reference.path.name} have no column {', '.join(map(repr, missing))} "
            f"(they have: {', '.join(columns)})",
            place="model.reference",
        )


def _reference_fields(ctx: Context, reference: Reference | None) -> dict[str, str]:
    if reference is None:
        return {}
    with reference.path.open("rb") as content:
        digest = ctx.blobs.put(content)
    return {"reference": digest, "reference_label": reference.label, "reference_time": reference.time}


def _provenance_fields(provenance: Provenance) -> dict[str, object]:
    return {
        "run": provenance.run,
        "code": provenance.code,
        "commit": provenance.commit,
        "datasets": tuple(provenance.datasets),
        "metrics": dict(provenance.metrics),
        "tags": dict(provenance.tags),
    }


def _keep_version(ctx: Context, name: str, alias: str, fields: Mapping[str, Any]) -> ModelVersion:
    """Number and keep a version; two processes that register at once get two numbers."""
    try:
        return _add_version(ctx, name, alias, fields)
    except Conflict:
        return _add_version(ctx, name, alias, fields)


def _add_version(ctx: Context, name: str, alias: str, fields: Mapping[str, Any]) -> ModelVersion:
    now = ctx.clock.now()
    with ctx.transactions.begin() as uow:
        if uow.get(RegisteredModel, name, lock=True) is None:
            uow.add(RegisteredModel(name=name, created_at=now, updated_at=now))
        number = next_number(ctx, uow, name)
        version = ModelVersion(
            id=f"{name}@{number}", model=name, number=number, created_at=now, updated_at=now, actor=ctx.actor, **fields
        )
        uow.add(version)
        summary = f"{version.id} registered; conversion {version.conversion.status.value}"
        uow.record(ctx.event("model.version_registered", f"model/{name}", summary, version=version.id, run=version.run))
        if alias:
            ask_alias(ctx, uow, name, alias, number)
    return version


def next_number(ctx: Context, uow: UnitOfWork, name: str) -> int:
    """Take the next version number of a model that is there."""
    model = require_model(uow, name, lock=True)
    newest = next((v.number for v in uow.find(ModelVersion, model=name, order="-number", limit=1)), 0)
    number = max(model.versions, newest) + 1
    uow.save(replace(model, versions=number, updated_at=ctx.clock.now()))
    return number


def get_model(ctx: Context, name: str) -> RegisteredModel:
    """Read a registered model."""
    return get_record(ctx, RegisteredModel, name, noun="model", hint="tournant models list")


def list_models(ctx: Context) -> list[RegisteredModel]:
    """List registered models by name."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(RegisteredModel, order="name")


def list_versions(ctx: Context, name: str) -> list[ModelVersion]:
    """List a model's versions, newest first."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(ModelVersion, model=name, order="-number")


def get_version(ctx: Context, version: str) -> ModelVersion:
    """Read a model version: `flights@3`, by alias `flights@champion`, or by the model's name the newest."""
    model, _, which = version.partition("@")
    with ctx.transactions.begin(write=False) as uow:
        newest = _newest(uow, model)
        if not which:
            return newest
        number = which
        if not which.isdigit():
            alias = uow.get(ModelAlias, model, which)
            if alias is None:
                aliases = ", ".join(found.alias for found in uow.find(ModelAlias, model=model, order="alias")) or "none"
                raise NotFound(
                    f"model {model!r} has no alias {which!r} (aliases: {aliases}). "
                    f"Set one: tournant models alias {model} {which} {newest.number}"
                )
            number = str(alias.version)
        found = uow.get(ModelVersion, f"{model}@{number}")
    if found is None:
        raise NotFound(f"model {model!r} has no version {number} (the newest is {newest.number})")
    return found


def _newest(uow: UnitOfWork, model: str) -> ModelVersion:
    found = uow.find(ModelVersion, model=model, order="-number", limit=1)
    if not found:
        raise NotFound(f"there is no model {model!r}; list them: tournant models list")
    return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """From data to traffic: what a model version was made of, by which run, and where it is or was deployed."""

    version: ModelVersion
    datasets: tuple[DatasetVersion, ...]
    run: Run | None
    revisions: tuple[Revision, ...]


def lineage(ctx: Context, version: str) -> Lineage:
    """Follow a model version both ways."""
    found = get_version(ctx, version)
    with ctx.transactions.begin(write=False) as uow:
        return Lineage(
            version=found,
            datasets=tuple(uow.find(DatasetVersion, id__in=list(found.datasets), order="id")),
            run=uow.runs.get(found.run) if found.run else None,
            revisions=tuple(uow.find(Revision, model_version=found.id, order="created_at")),
        )
