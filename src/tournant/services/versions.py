"""Model versions that point to files somebody else has logged, and what is said of versions."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tournant.domain.logged_models import LoggedModel
from tournant.domain.registry import Conversion, ConversionStatus, ModelAlias, ModelVersion, Signature
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.artifacts import SCHEME, artifact_path, copy_artifacts
from tournant.services.context import Context, new_id
from tournant.services.registered_models import refuse_deployed, require_model
from tournant.services.registry import next_number
from tournant.services.texts import check_texts

__all__ = [
    "STAGES",
    "create_version",
    "delete_version",
    "describe_version",
    "find_version",
    "move_to_stage",
    "pointing_version",
    "tag_version",
]

STAGES = ("None", "Staging", "Production", "Archived")


def create_version(
    ctx: Context,
    model: str,
    *,
    source: str,
    run: str = "",
    logged_model: str = "",
    description: str = "",
    run_link: str = "",
    tags: Mapping[str, str] | None = None,
) -> ModelVersion:
    """Register files that were logged as the next version of a model.

    Those kept here are kept as they are now: what is logged over them later is not this version. `source` may be
    `models:/m-…` (a logged model), `models:/name/version` or any address.
    """
    check_texts(tags or {}, "tag")
    check_texts({"description": description, "source": source, "run_link": run_link, "run": run}, "text")
    try:
        return _create(ctx, model, source, run, logged_model, description, run_link, tags or {})
    except Conflict:  # somebody took the number; once more
        return _create(ctx, model, source, run, logged_model, description, run_link, tags or {})


def _create(
    ctx: Context,
    model: str,
    source: str,
    run: str,
    logged_model: str,
    description: str,
    run_link: str,
    tags: Mapping[str, str],
) -> ModelVersion:
    now = ctx.clock.now()
    with ctx.transactions.begin() as uow:
        require_model(uow, model)
        place, logged = _resolve(uow, source, logged_model)
        files, location = artifact_path(place), f"{SCHEME}:/registry/{new_id()}"
        copied = copy_artifacts(ctx, uow, files, artifact_path(location)) if files else 0
        number = next_number(ctx, uow, model)
        version = replace(
            pointing_version(model, number, created_at=now),
            run=run or (logged.run if logged else ""),
            actor=ctx.actor,
            tags=dict(tags),
            description=description,
            source=source,
            artifact_location=location if copied else place,
            logged_model=logged.id if logged else logged_model,
            run_link=run_link,
        )
        uow.add(version)
        summary = f"{version.id} registered from {source}"
        uow.record(
            ctx.event("model.version_registered", f"model/{model}", summary, version=version.id, run=version.run)
        )
    return version


def pointing_version(model: str, number: int, *, created_at: float) -> ModelVersion:
    """Give a version that points to files, and is not prepared for serving."""
    return ModelVersion(
        id=f"{model}@{number}",
        model=model,
        number=number,
        digest="",
        flavor="",
        entry="",
        predict="",
        signature=Signature(inputs=()),
        example=(),
        environment="",
        conversion=Conversion(status=ConversionStatus.SKIPPED, reason="not prepared for serving yet"),
        created_at=created_at,
        updated_at=created_at,
    )


def _resolve(uow: UnitOfWork, source: str, logged_model: str) -> tuple[str, LoggedModel | None]:
    """Give where a source's files are, and the logged model they are."""
    scheme, _, rest = source.partition(":/")
    name, _, number = rest.strip("/").partition("/")
    if scheme == "models" and number:
        version = uow.get(ModelVersion, f"{name}@{number}")
        if version is None:
            raise NotFound(f"Model Version (name={name}, version={number}) not found")
        return version.artifact_location or version.source, None
    if scheme == "models":
        logged_model = name
    logged = uow.get(LoggedModel, logged_model) if logged_model else None
    if logged is None and scheme == "models":
        raise NotFound(f"Logged model with ID '{logged_model}' not found.")
    return (logged.artifact_location if logged and scheme == "models" else source), logged


def find_version(ctx: Context, model: str, number: str) -> ModelVersion:
    """Read a version by number."""
    with ctx.transactions.begin(write=False) as uow:
        require_model(uow, model)
        return _required(uow, model, number)


def describe_version(ctx: Context, model: str, number: str, description: str) -> ModelVersion:
    """Describe a version."""
    check_texts({"description": description}, "text")
    return _change(ctx, model, number, lambda version: replace(version, description=description))


def tag_version(ctx: Context, model: str, number: str, tags: Mapping[str, str | None]) -> ModelVersion:
    """Set tags; None takes one away."""
    check_texts({key: value or "" for key, value in tags.items()}, "tag")

    def change(version: ModelVersion) -> ModelVersion:
        merged = {key: value for key, value in {**version.tags, **tags}.items() if value is not None}
        return replace(version, tags=merged)

    return _change(ctx, model, number, change)


def move_to_stage(ctx: Context, model: str, number: str, stage: str, *, archive_others: bool = False) -> ModelVersion:
    """Put a version in a stage, as MLflow 2 had them; with `archive_others` those that were in it are archived."""
    canonical = next((known for known in STAGES if known.lower() == stage.lower()), None)
    if canonical is None:
        raise Invalid(f"Invalid Model Version stage: {stage}. Value must be one of {', '.join(STAGES)}.")
    if archive_others and canonical not in ("Staging", "Production"):
        raise Invalid(
            f"Versions in the stage {canonical} are not archived for another; only Staging and Production are"
        )
    now = ctx.clock.now()
    with ctx.transactions.begin() as uow:
        version = _required(uow, model, number, lock=True)
        if archive_others:
            others = [v for v in uow.find(ModelVersion, model=model, stage=canonical) if v.id != version.id]
            if others:
                uow.save(*(replace(each, stage="Archived", updated_at=now) for each in others))
        moved = replace(version, stage=canonical, updated_at=now)
        uow.save(moved)
        uow.save(replace(require_model(uow, model, lock=True), updated_at=now))
        summary = f"{version.id} moved from stage {version.stage} to {canonical}"
        uow.record(ctx.event("model.stage_set", f"model/{model}", summary, version=version.id))
    return moved


def delete_version(ctx: Context, model: str, number: str) -> None:
    """Delete a version with the aliases that name it; Invalid when it was deployed."""
    with ctx.transactions.begin() as uow:
        version = _required(uow, model, number, lock=True)
        refuse_deployed(uow, [version])
        uow.remove(ModelAlias, model=model, version=version.number)
        uow.remove(ModelVersion, id=version.id)
        uow.record(ctx.event("model.version_deleted", f"model/{model}", f"{version.id} deleted"))


def _required(uow: UnitOfWork, model: str, number: str, *, lock: bool = False) -> ModelVersion:
    if not number.isascii() or not number.isdigit():
        raise Invalid(f"Model version must be an integer, got '{number[:100]}'", place="version")
    version = uow.get(ModelVersion, f"{model}@{int(number[:30])}", lock=lock)
    if version is None:
        raise NotFound(f"Model Version (name={model}, version={number}) not found")
    return version


def _change(ctx: Context, model: str, number: str, change: Callable[[ModelVersion], ModelVersion]) -> ModelVersion:
    with ctx.transactions.begin() as uow:
        changed = replace(change(_required(uow, model, number, lock=True)), updated_at=ctx.clock.now())
        uow.save(changed)
    return changed
