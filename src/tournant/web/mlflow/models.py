"""MLflow's endpoints of registered models and their aliases."""

from collections.abc import Sequence
from typing import Any

from tournant.api.operation import Operation
from tournant.domain.filters import Language
from tournant.domain.registry import AliasMove, AliasMoveState, ModelAlias, ModelVersion, RegisteredModel
from tournant.domain.run_query import Entity, Ordering
from tournant.errors import Denied, Invalid, NotFound
from tournant.services import aliases, registered_models, registry, versions
from tournant.services.context import Context
from tournant.web.mlflow.experiments import Nothing, check_limit
from tournant.web.mlflow.messages import Tag, TagOut, milliseconds, read_tags, tags_of
from tournant.web.mlflow.paging import slice_page
from tournant.web.mlflow.registry import (
    PROMPT,
    FoundVersions,
    Search,
    VersionAnswer,
    VersionMessage,
    answer_version,
    find_records,
    read_aliases,
    registry_operation,
    version_message,
)
from tournant.web.mlflow.requests import Message

__all__ = ["OPERATIONS"]

MOST_MODELS = 1_000
_MODELS = Language(
    noun="registered models",
    entities=(Entity.ATTRIBUTE, Entity.TAG),
    numbers=("creation_timestamp", "last_updated_timestamp"),
    texts=("name",),
    aliases={"timestamp": "last_updated_timestamp"},
)


class CreateModel(Message, frozen=True, kw_only=True):
    """A new registered model."""

    name: str
    description: str = ""
    tags: list[Tag] = []


class RenameModel(Message, frozen=True, kw_only=True):
    """A registered model's new name."""

    name: str
    new_name: str


class UpdateModel(Message, frozen=True, kw_only=True):
    """A registered model's new description."""

    name: str
    description: str = ""


class ModelName(Message, frozen=True, kw_only=True):
    """Which registered model."""

    name: str


class ModelTag(Message, frozen=True, kw_only=True):
    """A registered model's tag."""

    name: str
    key: str
    value: str = ""


class LatestVersions(Message, frozen=True, kw_only=True):
    """A model's newest version of each stage."""

    name: str
    stages: list[str] = []


class SetAlias(Message, frozen=True, kw_only=True):
    """A name for a version."""

    name: str
    alias: str
    version: str


class AliasName(Message, frozen=True, kw_only=True):
    """Which alias of which model."""

    name: str
    alias: str


class AliasMessage(Message, frozen=True, kw_only=True):
    """An alias and its version."""

    alias: str
    version: str


class ModelMessage(Message, frozen=True, kw_only=True):
    """A registered model."""

    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str
    latest_versions: list[VersionMessage] = []
    tags: list[TagOut] = []
    aliases: list[AliasMessage] = []


class ModelAnswer(Message, frozen=True, kw_only=True):
    """One registered model."""

    registered_model: ModelMessage


class FoundModels(Message, frozen=True, kw_only=True):
    """A page of registered models."""

    registered_models: list[ModelMessage] = []
    next_page_token: str | None = None


def create_model(ctx: Context, request: CreateModel) -> ModelAnswer:
    """Begin a registered model."""
    tags = read_tags(request.tags)
    return _model_answer(
        ctx, registered_models.create_model(ctx, request.name, description=request.description, tags=tags)
    )


def get_model(ctx: Context, request: ModelName) -> ModelAnswer:
    """Show a registered model."""
    return _model_answer(ctx, _required(ctx, request.name))


def rename_model(ctx: Context, request: RenameModel) -> ModelAnswer:
    """Give a registered model another name."""
    return _model_answer(ctx, registered_models.rename_model(ctx, request.name, request.new_name))


def update_model(ctx: Context, request: UpdateModel) -> ModelAnswer:
    """Describe a registered model."""
    return _model_answer(ctx, registered_models.describe_model(ctx, request.name, request.description))


def delete_model(ctx: Context, request: ModelName) -> Nothing:
    """Delete a registered model with its versions."""
    registered_models.delete_model(ctx, request.name)
    return Nothing()


def set_model_tag(ctx: Context, request: ModelTag) -> Nothing:
    """Set a tag of a registered model."""
    registered_models.tag_model(ctx, request.name, {request.key: request.value})
    return Nothing()


def delete_model_tag(ctx: Context, request: ModelTag) -> Nothing:
    """Take a tag away from a registered model."""
    registered_models.tag_model(ctx, request.name, {request.key: None})
    return Nothing()


def search_models(ctx: Context, request: Search) -> FoundModels:
    """Find registered models, by name unless ordered otherwise."""
    limit = check_limit(request.max_results, MOST_MODELS)
    found = find_records(
        registry.list_models(ctx), request, _MODELS, _read_model, [Ordering(entity=Entity.ATTRIBUTE, key="name")]
    )
    page, token = slice_page(found, request.page_token, limit)
    return FoundModels(registered_models=[_model(ctx, model) for model in page], next_page_token=token)


def latest_versions(ctx: Context, request: LatestVersions) -> FoundVersions:
    """Show the newest version of each stage."""
    _required(ctx, request.name)
    wanted = {stage.lower() for stage in request.stages}
    unknown = wanted - {stage.lower() for stage in versions.STAGES}
    if unknown:
        raise Invalid(
            f"Invalid Model Version stage: {', '.join(sorted(unknown))}. Value must be one of {', '.join(versions.STAGES)}."
        )
    latest = [v for v in _latest(registry.list_versions(ctx, request.name)) if not wanted or v.stage.lower() in wanted]
    named = read_aliases(ctx, request.name)
    return FoundVersions(model_versions=[version_message(version, named) for version in latest])


def set_alias(ctx: Context, request: SetAlias) -> Nothing:
    """Let an alias name a version."""
    if request.alias.lower() == "latest" or (request.alias[:1] in "vV" and request.alias[1:].isdigit()):
        raise Invalid(f"The alias name {request.alias!r} is reserved.")
    found = versions.find_version(ctx, request.name, request.version)
    _refuse_waiting(aliases.set_alias(ctx, request.name, request.alias, found.number))
    return Nothing()


def delete_alias(ctx: Context, request: AliasName) -> Nothing:
    """Take an alias away."""
    _refuse_waiting(aliases.remove_alias(ctx, request.name, request.alias))
    return Nothing()


def _refuse_waiting(move: AliasMove | None) -> None:
    """Do not let a client believe that an alias was moved which is only going to be: Denied, and the move waits."""
    if move and move.state is AliasMoveState.WAITING:
        raise Denied(
            f"{move.summary}; this was asked for, and somebody else has to agree: tournant models approve {move.model} {move.alias}"
        )


def get_by_alias(ctx: Context, request: AliasName) -> VersionAnswer:
    """Show the version that an alias names."""
    _required(ctx, request.name)
    if request.alias.lower() == "latest":
        newest = registry.list_versions(ctx, request.name)
        if not newest:
            raise NotFound(f"Latest version not found for model {request.name}.")
        return answer_version(ctx, newest[0])
    with ctx.transactions.begin(write=False) as uow:
        alias = uow.get(ModelAlias, request.name, request.alias)
    if alias is None:
        raise Invalid(f"Registered model alias {request.alias} not found.")
    return answer_version(ctx, versions.find_version(ctx, request.name, str(alias.version)))


def _read_model(model: RegisteredModel, entity: Entity, key: str) -> Any:
    if entity is Entity.TAG:  # what has no such tag is a model, and no prompt
        return model.tags.get(key, "false" if key == PROMPT else None)
    values = {
        "name": model.name,
        "creation_timestamp": milliseconds(model.created_at),
        "last_updated_timestamp": milliseconds(model.updated_at or model.created_at),
    }
    return values[key]


def _required(ctx: Context, name: str) -> RegisteredModel:
    with ctx.transactions.begin(write=False) as uow:
        return registered_models.require_model(uow, name)


def _latest(found: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Give the newest version of each stage; `found` is newest first."""
    latest: dict[str, ModelVersion] = {}
    for version in found:
        latest.setdefault(version.stage, version)
    return list(latest.values())


def _model_answer(ctx: Context, model: RegisteredModel) -> ModelAnswer:
    return ModelAnswer(registered_model=_model(ctx, model))


def _model(ctx: Context, model: RegisteredModel) -> ModelMessage:
    named = read_aliases(ctx, model.name)
    latest = _latest(registry.list_versions(ctx, model.name))
    return ModelMessage(
        name=model.name,
        creation_timestamp=milliseconds(model.created_at),
        last_updated_timestamp=milliseconds(model.updated_at or model.created_at),
        description=model.description,
        latest_versions=[version_message(version, named) for version in latest],
        tags=tags_of(model.tags),
        aliases=[AliasMessage(alias=each.alias, version=str(each.version)) for each in named],
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    registry_operation("registered-models/create", "POST", CreateModel, ModelAnswer, create_model),
    registry_operation("registered-models/get", "GET", ModelName, ModelAnswer, get_model),
    registry_operation("registered-models/rename", "POST", RenameModel, ModelAnswer, rename_model),
    registry_operation("registered-models/update", "PATCH", UpdateModel, ModelAnswer, update_model),
    registry_operation("registered-models/delete", "DELETE", ModelName, Nothing, delete_model),
    registry_operation("registered-models/search", "GET", Search, FoundModels, search_models),
    registry_operation("registered-models/get-latest-versions", "GET", LatestVersions, FoundVersions, latest_versions),
    registry_operation("registered-models/get-latest-versions", "POST", LatestVersions, FoundVersions, latest_versions),
    registry_operation("registered-models/set-tag", "POST", ModelTag, Nothing, set_model_tag),
    registry_operation("registered-models/delete-tag", "DELETE", ModelTag, Nothing, delete_model_tag),
    registry_operation("registered-models/alias", "POST", SetAlias, Nothing, set_alias),
    registry_operation("registered-models/alias", "DELETE", AliasName, Nothing, delete_alias),
    registry_operation("registered-models/alias", "GET", AliasName, VersionAnswer, get_by_alias),
)
