"""MLflow's endpoints of registered models, their aliases and their versions."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from tournant.api.operation import Operation
from tournant.domain.filters import Language, holds, parse_filter, parse_order
from tournant.domain.registry import ModelAlias, ModelVersion, RegisteredModel
from tournant.domain.run_query import Entity, Ordering
from tournant.errors import Invalid, NotFound
from tournant.services import registered_models, registry, versions
from tournant.services.context import Context
from tournant.web.mlflow.experiments import Nothing, check_limit
from tournant.web.mlflow.messages import Tag, TagOut, milliseconds, read_tags, tags_of
from tournant.web.mlflow.paging import slice_page
from tournant.web.mlflow.requests import Int, Message

__all__ = ["OPERATIONS"]

T = TypeVar("T", RegisteredModel, ModelVersion)
PROMPT = "mlflow.prompt.is_prompt"
MOST_MODELS, MOST_VERSIONS = 1_000, 200_000
_MODELS = Language(
    noun="registered models",
    entities=(Entity.ATTRIBUTE, Entity.TAG),
    numbers=("creation_timestamp", "last_updated_timestamp"),
    texts=("name",),
    aliases={"timestamp": "last_updated_timestamp"},
)
_VERSIONS = Language(
    noun="model versions",
    entities=(Entity.ATTRIBUTE, Entity.TAG),
    numbers=("version_number", "creation_timestamp", "last_updated_timestamp"),
    texts=("name", "run_id", "source_path"),
    aliases={"version": "version_number"},
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


class Search(Message, frozen=True, kw_only=True):
    """Which of them, in which order."""

    filter: str = ""
    max_results: Int = 100
    order_by: list[str] = []
    page_token: str = ""


class SearchVersions(Search, frozen=True, kw_only=True):
    """Which versions, in which order."""

    max_results: Int = 10_000


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


class CreateVersion(Message, frozen=True, kw_only=True):
    """A new version of a registered model."""

    name: str
    source: str
    run_id: str = ""
    run_link: str = ""
    description: str = ""
    model_id: str = ""
    tags: list[Tag] = []


class VersionName(Message, frozen=True, kw_only=True):
    """Which version of which model."""

    name: str
    version: str


class UpdateVersion(VersionName, frozen=True, kw_only=True):
    """A version's new description."""

    description: str = ""


class MoveVersion(VersionName, frozen=True, kw_only=True):
    """A version's new stage."""

    stage: str
    archive_existing_versions: bool = False


class VersionTag(VersionName, frozen=True, kw_only=True):
    """A version's tag."""

    key: str
    value: str = ""


class AliasMessage(Message, frozen=True, kw_only=True):
    """An alias and its version."""

    alias: str
    version: str


class VersionMessage(Message, frozen=True, kw_only=True):
    """A model version."""

    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    user_id: str
    current_stage: str
    description: str
    source: str
    run_id: str
    status: str
    run_link: str
    tags: list[TagOut] = []
    aliases: list[str] = []
    model_id: str | None = None


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


class VersionAnswer(Message, frozen=True, kw_only=True):
    """One model version."""

    model_version: VersionMessage


class FoundVersions(Message, frozen=True, kw_only=True):
    """A page of model versions."""

    model_versions: list[VersionMessage] = []
    next_page_token: str | None = None


class DownloadUri(Message, frozen=True, kw_only=True):
    """Where a version's files are."""

    artifact_uri: str


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
    found = _search(
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
    aliases = _aliases(ctx, request.name)
    return FoundVersions(model_versions=[_version(version, aliases) for version in latest])


def set_alias(ctx: Context, request: SetAlias) -> Nothing:
    """Let an alias name a version."""
    if request.alias.lower() == "latest" or (request.alias[:1] in "vV" and request.alias[1:].isdigit()):
        raise Invalid(f"The alias name {request.alias!r} is reserved.")
    found = versions.find_version(ctx, request.name, request.version)
    registry.set_alias(ctx, request.name, request.alias, found.number)
    return Nothing()


def delete_alias(ctx: Context, request: AliasName) -> Nothing:
    """Take an alias away."""
    registry.remove_alias(ctx, request.name, request.alias)
    return Nothing()


def get_by_alias(ctx: Context, request: AliasName) -> VersionAnswer:
    """Show the version that an alias names."""
    _required(ctx, request.name)
    if request.alias.lower() == "latest":
        newest = registry.list_versions(ctx, request.name)
        if not newest:
            raise NotFound(f"Latest version not found for model {request.name}.")
        return _version_answer(ctx, newest[0])
    with ctx.transactions.begin(write=False) as uow:
        alias = uow.get(ModelAlias, request.name, request.alias)
    if alias is None:
        raise Invalid(f"Registered model alias {request.alias} not found.")
    return _version_answer(ctx, versions.find_version(ctx, request.name, str(alias.version)))


def create_version(ctx: Context, request: CreateVersion) -> VersionAnswer:
    """Register files as the next version of a model."""
    made = versions.create_version(
        ctx,
        request.name,
        source=request.source,
        run=request.run_id,
        logged_model=request.model_id,
        description=request.description,
        run_link=request.run_link,
        tags=read_tags(request.tags),
    )
    return _version_answer(ctx, made)


def get_version(ctx: Context, request: VersionName) -> VersionAnswer:
    """Show a version."""
    return _version_answer(ctx, versions.find_version(ctx, request.name, request.version))


def update_version(ctx: Context, request: UpdateVersion) -> VersionAnswer:
    """Describe a version."""
    return _version_answer(ctx, versions.describe_version(ctx, request.name, request.version, request.description))


def move_version(ctx: Context, request: MoveVersion) -> VersionAnswer:
    """Put a version in a stage."""
    moved = versions.move_to_stage(
        ctx, request.name, request.version, request.stage, archive_others=request.archive_existing_versions
    )
    return _version_answer(ctx, moved)


def delete_version(ctx: Context, request: VersionName) -> Nothing:
    """Delete a version."""
    versions.delete_version(ctx, request.name, request.version)
    return Nothing()


def set_version_tag(ctx: Context, request: VersionTag) -> Nothing:
    """Set a tag of a version."""
    versions.tag_version(ctx, request.name, request.version, {request.key: request.value})
    return Nothing()


def delete_version_tag(ctx: Context, request: VersionTag) -> Nothing:
    """Take a tag away from a version."""
    versions.tag_version(ctx, request.name, request.version, {request.key: None})
    return Nothing()


def download_uri(ctx: Context, request: VersionName) -> DownloadUri:
    """Say where a version's files are."""
    found = versions.find_version(ctx, request.name, request.version)
    return DownloadUri(artifact_uri=found.artifact_location or found.source)


def search_versions(ctx: Context, request: SearchVersions) -> FoundVersions:
    """Find model versions, those changed last first unless ordered otherwise."""
    limit = check_limit(request.max_results, MOST_VERSIONS)
    with ctx.transactions.begin(write=False) as uow:
        everything = uow.find(ModelVersion, order="model,-number")
        aliases = uow.find(ModelAlias, order="alias")
    default = [
        Ordering(entity=Entity.ATTRIBUTE, key="last_updated_timestamp", descending=True),
        Ordering(entity=Entity.ATTRIBUTE, key="name"),
        Ordering(entity=Entity.ATTRIBUTE, key="version_number", descending=True),
    ]
    found = _search(everything, request, _VERSIONS, _read_version, default)
    page, token = slice_page(found, request.page_token, limit)
    return FoundVersions(model_versions=[_version(version, aliases) for version in page], next_page_token=token)


def _search(
    records: Sequence[T],
    request: Search,
    language: Language,
    read: Callable[[T, Entity, str], Any],
    default: list[Ordering],
) -> list[T]:
    condition = parse_filter(request.filter, language)
    found = [each for each in records if holds(condition, partial(read, each))]
    for order in reversed([parse_order(text, language) for text in request.order_by] or default):
        if order.entity is not Entity.ATTRIBUTE:
            raise Invalid(f"Invalid order_by entity: {language.noun} are ordered by attributes", place="order_by")
        keys = [read(each, Entity.ATTRIBUTE, order.key) for each in found]
        places = sorted(range(len(found)), key=keys.__getitem__, reverse=order.descending)
        found = [found[place] for place in places]
    return found


def _read_model(model: RegisteredModel, entity: Entity, key: str) -> Any:
    if entity is Entity.TAG:  # what has no such tag is a model, and no prompt
        return model.tags.get(key, "false" if key == PROMPT else None)
    values = {
        "name": model.name,
        "creation_timestamp": milliseconds(model.created_at),
        "last_updated_timestamp": milliseconds(model.updated_at or model.created_at),
    }
    return values[key]


def _read_version(version: ModelVersion, entity: Entity, key: str) -> Any:
    if entity is Entity.TAG:
        return version.tags.get(key, "false" if key == PROMPT else None)
    values = {
        "name": version.model,
        "run_id": version.run,
        "source_path": version.source,
        "version_number": version.number,
        "creation_timestamp": milliseconds(version.created_at),
        "last_updated_timestamp": milliseconds(version.updated_at or version.created_at),
    }
    return values[key]


def _required(ctx: Context, name: str) -> RegisteredModel:
    with ctx.transactions.begin(write=False) as uow:
        return registered_models.require_model(uow, name)


def _aliases(ctx: Context, model: str) -> list[ModelAlias]:
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(ModelAlias, model=model, order="alias")


def _latest(found: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Give the newest version of each stage; `found` is newest first."""
    latest: dict[str, ModelVersion] = {}
    for version in found:
        latest.setdefault(version.stage, version)
    return list(latest.values())


def _model_answer(ctx: Context, model: RegisteredModel) -> ModelAnswer:
    return ModelAnswer(registered_model=_model(ctx, model))


def _model(ctx: Context, model: RegisteredModel) -> ModelMessage:
    aliases = _aliases(ctx, model.name)
    latest = _latest(registry.list_versions(ctx, model.name))
    return ModelMessage(
        name=model.name,
        creation_timestamp=milliseconds(model.created_at),
        last_updated_timestamp=milliseconds(model.updated_at or model.created_at),
        description=model.description,
        latest_versions=[_version(version, aliases) for version in latest],
        tags=tags_of(model.tags),
        aliases=[AliasMessage(alias=each.alias, version=str(each.version)) for each in aliases],
    )


def _version_answer(ctx: Context, version: ModelVersion) -> VersionAnswer:
    return VersionAnswer(model_version=_version(version, _aliases(ctx, version.model)))


def _version(version: ModelVersion, aliases: Sequence[ModelAlias]) -> VersionMessage:
    named = [each.alias for each in aliases if (each.model, each.version) == (version.model, version.number)]
    return VersionMessage(
        name=version.model,
        version=str(version.number),
        creation_timestamp=milliseconds(version.created_at),
        last_updated_timestamp=milliseconds(version.updated_at or version.created_at),
        user_id=version.actor,
        current_stage=version.stage,
        description=version.description,
        source=version.source,
        run_id=version.run,
        status="READY",
        run_link=version.run_link,
        tags=tags_of(version.tags),
        aliases=named,
        model_id=version.logged_model or None,
    )


def _at(path: str, method: str, request: Any, response: Any, handler: Any) -> Operation[Any, Any]:
    return Operation(
        name=f"mlflow.{path.replace('/', '.')}.{method.lower()}",
        method=method,
        path=f"/2.0/mlflow/{path}",
        request=request,
        response=response,
        handler=handler,
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    _at("registered-models/create", "POST", CreateModel, ModelAnswer, create_model),
    _at("registered-models/get", "GET", ModelName, ModelAnswer, get_model),
    _at("registered-models/rename", "POST", RenameModel, ModelAnswer, rename_model),
    _at("registered-models/update", "PATCH", UpdateModel, ModelAnswer, update_model),
    _at("registered-models/delete", "DELETE", ModelName, Nothing, delete_model),
    _at("registered-models/search", "GET", Search, FoundModels, search_models),
    _at("registered-models/get-latest-versions", "GET", LatestVersions, FoundVersions, latest_versions),
    _at("registered-models/get-latest-versions", "POST", LatestVersions, FoundVersions, latest_versions),
    _at("registered-models/set-tag", "POST", ModelTag, Nothing, set_model_tag),
    _at("registered-models/delete-tag", "DELETE", ModelTag, Nothing, delete_model_tag),
    _at("registered-models/alias", "POST", SetAlias, Nothing, set_alias),
    _at("registered-models/alias", "DELETE", AliasName, Nothing, delete_alias),
    _at("registered-models/alias", "GET", AliasName, VersionAnswer, get_by_alias),
    _at("model-versions/create", "POST", CreateVersion, VersionAnswer, create_version),
    _at("model-versions/get", "GET", VersionName, VersionAnswer, get_version),
    _at("model-versions/update", "PATCH", UpdateVersion, VersionAnswer, update_version),
    _at("model-versions/transition-stage", "POST", MoveVersion, VersionAnswer, move_version),
    _at("model-versions/delete", "DELETE", VersionName, Nothing, delete_version),
    _at("model-versions/search", "GET", SearchVersions, FoundVersions, search_versions),
    _at("model-versions/get-download-uri", "GET", VersionName, DownloadUri, download_uri),
    _at("model-versions/set-tag", "POST", VersionTag, Nothing, set_version_tag),
    _at("model-versions/delete-tag", "DELETE", VersionTag, Nothing, delete_version_tag),
)
