"""What tournant needs of the world, as Protocols; `adapters` implement them, `bootstrap` chooses."""

from tournant.ports.content import BlobStore, Progress, RemoteStore, StoreKeeper, TableComparer, Urls
from tournant.ports.metadata import RunStore, Transactions, UnitOfWork
from tournant.ports.mlflow import (
    MlflowFiles,
    MlflowSource,
    Place,
    SourceExperiment,
    SourceFile,
    SourceLoggedModel,
    SourceModel,
    SourceRun,
    SourceVersion,
    Unreadable,
)
from tournant.ports.models import (
    BuiltEnvironment,
    ConversionRequest,
    EnvironmentBuilder,
    Inspection,
    InspectionRequest,
    ModelConverter,
    PredictionRequest,
)
from tournant.ports.predictions import Columns, PredictionLog
from tournant.ports.surroundings import Clock, KeyKind, Keys, Lockstep, MetricSource, Notifier
from tournant.ports.work import Executor, Job, JobStatus, Sampler

__all__ = [
    "BlobStore",
    "BuiltEnvironment",
    "Clock",
    "Columns",
    "ConversionRequest",
    "EnvironmentBuilder",
    "Executor",
    "Inspection",
    "InspectionRequest",
    "Job",
    "JobStatus",
    "KeyKind",
    "Keys",
    "Lockstep",
    "MetricSource",
    "MlflowFiles",
    "MlflowSource",
    "ModelConverter",
    "Notifier",
    "Place",
    "PredictionLog",
    "PredictionRequest",
    "Progress",
    "RemoteStore",
    "RunStore",
    "Sampler",
    "SourceExperiment",
    "SourceFile",
    "SourceLoggedModel",
    "SourceModel",
    "SourceRun",
    "SourceVersion",
    "StoreKeeper",
    "TableComparer",
    "Transactions",
    "UnitOfWork",
    "Unreadable",
    "Urls",
]
