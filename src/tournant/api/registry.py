"""Operations on registered models and datasets."""

from typing import Any

import msgspec

from tournant.api.operation import Empty, Operation
from tournant.domain.data import Dataset, DatasetVersion
from tournant.domain.registry import ModelAlias, ModelSignature, ModelVersion, RegisteredModel
from tournant.domain.verification import Verification
from tournant.services import registry
from tournant.services.context import Context
from tournant.services.lookup import get_record
from tournant.services.signing import find_signature
from tournant.services.verification import list_verifications

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


def set_alias(ctx: Context, request: SetAlias) -> ModelAlias:
    """Let an alias name a version."""
    return registry.set_alias(ctx, request.name, request.alias, request.version, reason=request.reason)


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
        name="models.alias",
        method="POST",
        path="/models/{name}/aliases/{alias}",
        request=SetAlias,
        response=ModelAlias,
        handler=set_alias,
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
