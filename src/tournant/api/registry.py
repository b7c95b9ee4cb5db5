"""Operations on registered models and datasets."""

from typing import Any

import msgspec

from tournant.api.operation import Empty, Operation
from tournant.domain.data import Dataset, DatasetVersion
from tournant.domain.deployment import Revision
from tournant.domain.registry import AliasMove, ModelAlias, ModelSignature, ModelVersion, RegisteredModel
from tournant.domain.verification import Verification
from tournant.services import aliases, production, registry
from tournant.services.context import Context
from tournant.services.lookup import get_record
from tournant.services.mlflow_models import register_logged
from tournant.services.signing import find_signature
from tournant.services.verification import list_verifications
from tournant.services.vouching import newest_verifications

__all__ = ["OPERATIONS"]


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A model with its aliases and newest version."""

    model: RegisteredModel
    versions: int
    newest: ModelVersion | None
    aliases: list[ModelAlias]


class GetModel(msgspec.Struct, frozen=True, kw_only=True):
    """Which model."""

    name: str


class ModelDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A model with all its versions, newest first."""

    model: RegisteredModel
    versions: list[ModelVersion]
    aliases: list[ModelAlias]


class GetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which model version: `name@number`, or `name@alias`."""

    id: str


class ModelProofs(msgspec.Struct, frozen=True, kw_only=True):
    """What proves a model version: its signature, and its verifications, newest first."""

    signature: ModelSignature | None
    verifications: list[Verification]


class SetAlias(msgspec.Struct, frozen=True, kw_only=True):
    """Which alias shall name which version."""

    name: str
    alias: str
    version: int
    reason: str = ""


class RegisterVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has logged (`runs:/RUN/path`), to be the next version of a model, which is begun on demand."""

    name: str
    source: str


class NameAlias(msgspec.Struct, frozen=True, kw_only=True):
    """Which alias of which model, and why."""

    name: str
    alias: str
    reason: str = ""


class ProtectAliases(msgspec.Struct, frozen=True, kw_only=True):
    """Which aliases of a model shall take an approval: these and no others."""

    name: str
    aliases: list[str]


class ModelHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What ran in production when, and every move of an alias; both newest first."""

    tenures: list[production.Tenure]
    moves: list[AliasMove]


class VersionStanding(msgspec.Struct, frozen=True, kw_only=True):
    """Where a version is or was deployed, and the verdict of its newest verification."""

    version: ModelVersion
    revisions: list[Revision]
    verification: Verification | None


class GetDataset(msgspec.Struct, frozen=True, kw_only=True):
    """Which dataset."""

    name: str


class DatasetDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset with its versions, newest first."""

    dataset: Dataset
    versions: list[DatasetVersion]


def list_models(ctx: Context, _request: Empty) -> list[ModelSummary]:
    """List registered models."""
    with ctx.transactions.begin(write=False) as uow:
        return [
            ModelSummary(
                model=model,
                versions=uow.count(ModelVersion, model=model.name),
                newest=next(iter(uow.find(ModelVersion, model=model.name, order="-number", limit=1)), None),
                aliases=uow.find(ModelAlias, model=model.name, order="alias"),
            )
            for model in uow.find(RegisteredModel, order="name")
        ]


def get_model(ctx: Context, request: GetModel) -> ModelDetails:
    """Show one model with its versions and aliases."""
    model = get_record(ctx, RegisteredModel, request.name, noun="model", hint="tournant models list")
    with ctx.transactions.begin(write=False) as uow:
        return ModelDetails(
            model=model,
            versions=uow.find(ModelVersion, model=model.name, order="-number"),
            aliases=uow.find(ModelAlias, model=model.name, order="alias"),
        )


def get_version(ctx: Context, request: GetVersion) -> ModelVersion:
    """Show one model version."""
    return registry.get_version(ctx, request.id)


def get_proofs(ctx: Context, request: GetVersion) -> ModelProofs:
    """Show a model version's signature and verifications."""
    version = registry.get_version(ctx, request.id).id
    return ModelProofs(signature=find_signature(ctx, version), verifications=list_verifications(ctx, version))


def register_version(ctx: Context, request: RegisterVersion) -> ModelVersion:
    """Register files that a run has logged as the next version of a model."""
    return register_logged(ctx, request.source, name=request.name)


def set_alias(ctx: Context, request: SetAlias) -> AliasMove:
    """Let an alias name a version, or ask for it where that takes an approval."""
    return aliases.set_alias(ctx, request.name, request.alias, request.version, reason=request.reason)


def remove_alias(ctx: Context, request: NameAlias) -> AliasMove | None:
    """Take an alias away, or ask for it where that takes an approval; null when it is not there."""
    return aliases.remove_alias(ctx, request.name, request.alias, reason=request.reason)


def approve_alias(ctx: Context, request: NameAlias) -> AliasMove:
    """Make the move of an alias that waits; whoever asked for it cannot."""
    return aliases.approve_alias(ctx, request.name, request.alias, reason=request.reason)


def decline_alias(ctx: Context, request: NameAlias) -> AliasMove:
    """Refuse the move of an alias that waits."""
    return aliases.decline_alias(ctx, request.name, request.alias, reason=request.reason)


def protect_aliases(ctx: Context, request: ProtectAliases) -> RegisteredModel:
    """Say which aliases of a model move only after an approval."""
    return aliases.protect_aliases(ctx, request.name, request.aliases)


def get_history(ctx: Context, request: GetModel) -> ModelHistory:
    """Show what of a model ran in production, when and what came after it, and every move of its aliases."""
    moves = aliases.list_alias_moves(ctx, request.name)
    return ModelHistory(tenures=production.list_tenures(ctx, request.name), moves=moves)


def list_standings(ctx: Context, request: GetModel) -> list[VersionStanding]:
    """List a model's versions, newest first, with their deployments and the verdicts of their verifications."""
    get_record(ctx, RegisteredModel, request.name, noun="model", hint="tournant models list")
    found = registry.list_versions(ctx, request.name)
    ids = [version.id for version in found]
    with ctx.transactions.begin(write=False) as uow:
        revisions = uow.find(Revision, model_version__in=ids, order="created_at") if ids else []
        newest = newest_verifications(uow, ids)
    return [
        VersionStanding(
            version=version,
            revisions=[revision for revision in revisions if revision.model_version == version.id],
            verification=newest.get(version.id),
        )
        for version in found
    ]


def list_datasets(ctx: Context, _request: Empty) -> list[Dataset]:
    """List datasets."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Dataset, order="name")


def get_dataset(ctx: Context, request: GetDataset) -> DatasetDetails:
    """Show one dataset with its versions."""
    dataset = get_record(ctx, Dataset, request.name, noun="dataset", hint="tournant data list")
    with ctx.transactions.begin(write=False) as uow:
        return DatasetDetails(dataset=dataset, versions=uow.find(DatasetVersion, dataset=dataset.name, order="-number"))


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        name="models.list",
        method="GET",
        path="/models",
        request=Empty,
        response=list[ModelSummary],
        handler=list_models,
    ),
    Operation(
        name="models.get",
        method="GET",
        path="/models/{name}",
        request=GetModel,
        response=ModelDetails,
        handler=get_model,
    ),
    Operation(
        name="models.version",
        method="GET",
        path="/model-versions/{id}",
        request=GetVersion,
        response=ModelVersion,
        handler=get_version,
    ),
    Operation(
        name="models.proofs",
        method="GET",
        path="/model-versions/{id}/proofs",
        request=GetVersion,
        response=ModelProofs,
        handler=get_proofs,
    ),
    Operation(
        name="models.register",
        method="POST",
        path="/models/{name}/versions",
        request=RegisterVersion,
        response=ModelVersion,
        handler=register_version,
    ),
    Operation(
        name="models.alias",
        method="POST",
        path="/models/{name}/aliases/{alias}",
        request=SetAlias,
        response=AliasMove,
        handler=set_alias,
    ),
    Operation(
        name="models.unalias",
        method="DELETE",
        path="/models/{name}/aliases/{alias}",
        request=NameAlias,
        response=AliasMove | None,
        handler=remove_alias,
    ),
    Operation(
        name="models.approve",
        method="POST",
        path="/models/{name}/aliases/{alias}/approve",
        request=NameAlias,
        response=AliasMove,
        handler=approve_alias,
    ),
    Operation(
        name="models.decline",
        method="POST",
        path="/models/{name}/aliases/{alias}/decline",
        request=NameAlias,
        response=AliasMove,
        handler=decline_alias,
    ),
    Operation(
        name="models.protect",
        method="PUT",
        path="/models/{name}/protected-aliases",
        request=ProtectAliases,
        response=RegisteredModel,
        handler=protect_aliases,
    ),
    Operation(
        name="models.history",
        method="GET",
        path="/models/{name}/history",
        request=GetModel,
        response=ModelHistory,
        handler=get_history,
    ),
    Operation(
        name="models.versions",
        method="GET",
        path="/models/{name}/versions",
        request=GetModel,
        response=list[VersionStanding],
        handler=list_standings,
    ),
    Operation(
        name="data.list", method="GET", path="/datasets", request=Empty, response=list[Dataset], handler=list_datasets
    ),
    Operation(
        name="data.get",
        method="GET",
        path="/datasets/{name}",
        request=GetDataset,
        response=DatasetDetails,
        handler=get_dataset,
    ),
)
