"""What MLflow's endpoints of registered models and of their versions share."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from tournant.api.operation import Operation
from tournant.domain.filters import Language, holds, parse_filter, parse_order
from tournant.domain.registry import ModelAlias, ModelVersion, RegisteredModel
from tournant.domain.run_query import Entity, Ordering
from tournant.errors import Invalid
from tournant.services.context import Context
from tournant.web.mlflow.messages import TagOut, milliseconds, tags_of
from tournant.web.mlflow.requests import Int, Message

__all__ = [
    "PROMPT",
    "FoundVersions",
    "Search",
    "VersionAnswer",
    "VersionMessage",
    "answer_version",
    "find_records",
    "read_aliases",
    "registry_operation",
    "version_message",
]

T = TypeVar("T", RegisteredModel, ModelVersion)
PROMPT = "mlflow.prompt.is_prompt"


class Search(Message, frozen=True, kw_only=True):
    """Which of them, in which order."""

    filter: str = ""
    max_results: Int = 100
    order_by: list[str] = []
    page_token: str = ""


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


class VersionAnswer(Message, frozen=True, kw_only=True):
    """One model version."""

    model_version: VersionMessage


class FoundVersions(Message, frozen=True, kw_only=True):
    """A page of model versions."""

    model_versions: list[VersionMessage] = []
    next_page_token: str | None = None


def find_records(
    records: Sequence[T],
    request: Search,
    language: Language,
    read: Callable[[T, Entity, str], Any],
    default: list[Ordering],
) -> list[T]:
    """Give the records that a request's filter finds, in its order; `read` gives an attribute or a tag of one."""
    condition = parse_filter(request.filter, language)
    found = [each for each in records if holds(condition, partial(read, each))]
    for order in reversed([parse_order(text, language) for text in request.order_by] or default):
        if order.entity is not Entity.ATTRIBUTE:
            raise Invalid(f"Invalid order_by entity: {language.noun} are ordered by attributes", place="order_by")
        keys = [read(each, Entity.ATTRIBUTE, order.key) for each in found]
        places = sorted(range(len(found)), key=keys.__getitem__, reverse=order.descending)
        found = [found[place] for place in places]
    return found


def read_aliases(ctx: Context, model: str) -> list[ModelAlias]:
    """Read a model's aliases."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(ModelAlias, model=model, order="alias")


def answer_version(ctx: Context, version: ModelVersion) -> VersionAnswer:
    """Answer with one version."""
    return VersionAnswer(model_version=version_message(version, read_aliases(ctx, version.model)))


def version_message(version: ModelVersion, aliases: Sequence[ModelAlias]) -> VersionMessage:
    """Write a model version."""
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


def registry_operation(path: str, method: str, request: Any, response: Any, handler: Any) -> Operation[Any, Any]:
    """Make the operation of a path below MLflow's prefix."""
    return Operation(
        name=f"mlflow.{path.replace('/', '.')}.{method.lower()}",
        method=method,
        path=f"/2.0/mlflow/{path}",
        request=request,
        response=response,
        handler=handler,
    )
