"""MLflow's endpoints of model versions."""

from typing import Any

from tournant.api.operation import Operation
from tournant.domain.filters import Language
from tournant.domain.registry import ModelAlias, ModelVersion
from tournant.domain.run_query import Entity, Ordering
from tournant.services import versions
from tournant.services.context import Context
from tournant.web.mlflow.experiments import Nothing, check_limit
from tournant.web.mlflow.messages import Tag, milliseconds, read_tags
from tournant.web.mlflow.paging import slice_page
from tournant.web.mlflow.registry import (
    PROMPT,
    FoundVersions,
    Search,
    VersionAnswer,
    answer_version,
    find_records,
    registry_operation,
    version_message,
)
from tournant.web.mlflow.requests import Int, Message

__all__ = ["OPERATIONS"]

MOST_VERSIONS = 200_000
_VERSIONS = Language(
    noun="model versions",
    entities=(Entity.ATTRIBUTE, Entity.TAG),
    numbers=("version_number", "creation_timestamp", "last_updated_timestamp"),
    texts=("name", "run_id", "source_path"),
    aliases={"version": "version_number"},
)


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


class SearchVersions(Search, frozen=True, kw_only=True):
    """Which versions, in which order."""

    max_results: Int = 10_000


class DownloadUri(Message, frozen=True, kw_only=True):
    """Where a version's files are."""

    artifact_uri: str


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
    return answer_version(ctx, made)


def get_version(ctx: Context, request: VersionName) -> VersionAnswer:
    """Show a version."""
    return answer_version(ctx, versions.find_version(ctx, request.name, request.version))


def update_version(ctx: Context, request: UpdateVersion) -> VersionAnswer:
    """Describe a version."""
    return answer_version(ctx, versions.describe_version(ctx, request.name, request.version, request.description))


def move_version(ctx: Context, request: MoveVersion) -> VersionAnswer:
    """Put a version in a stage."""
    moved = versions.move_to_stage(
        ctx, request.name, request.version, request.stage, archive_others=request.archive_existing_versions
    )
    return answer_version(ctx, moved)


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
    found = find_records(everything, request, _VERSIONS, _read_version, default)
    page, token = slice_page(found, request.page_token, limit)
    return FoundVersions(model_versions=[version_message(version, aliases) for version in page], next_page_token=token)


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


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    registry_operation("model-versions/create", "POST", CreateVersion, VersionAnswer, create_version),
    registry_operation("model-versions/get", "GET", VersionName, VersionAnswer, get_version),
    registry_operation("model-versions/update", "PATCH", UpdateVersion, VersionAnswer, update_version),
    registry_operation("model-versions/transition-stage", "POST", MoveVersion, VersionAnswer, move_version),
    registry_operation("model-versions/delete", "DELETE", VersionName, Nothing, delete_version),
    registry_operation("model-versions/search", "GET", SearchVersions, FoundVersions, search_versions),
    registry_operation("model-versions/get-download-uri", "GET", VersionName, DownloadUri, download_uri),
    registry_operation("model-versions/set-tag", "POST", VersionTag, Nothing, set_version_tag),
    registry_operation("model-versions/delete-tag", "DELETE", VersionTag, Nothing, delete_version_tag),
)
