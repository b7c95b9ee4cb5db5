"""The house with nothing served: the ports of a home, chosen and opened."""

from tournant.adapters.compute.local import LocalExecutor
from tournant.adapters.environments.uv import UvEnvironments
from tournant.adapters.keys import HomeKeys
from tournant.adapters.metrics import PrometheusSource
from tournant.adapters.notify import open_notifiers
from tournant.adapters.predictions.duckdb import DuckDbPredictionLog
from tournant.bootstrap.datasets import open_data_context
from tournant.bootstrap.home import hear_mlflow
from tournant.config import Settings
from tournant.conversion import OnnxConverter
from tournant.services.context import Context

__all__ = ["open_context"]


def open_context(settings: Settings, *, actor: str = "system") -> Context:
    """Open a home: metadata (brought up to date), content store and all the rest a use case needs."""
    settings = hear_mlflow(settings)
    core = open_data_context(settings, actor=actor)
    environments = UvEnvironments(settings)
    return Context(
        settings=settings,
        transactions=core.transactions,
        blobs=core.blobs,
        predictions=DuckDbPredictionLog(core.blobs),
        executor=LocalExecutor(settings.home / "jobs", settings),
        environments=environments,
        converter=OnnxConverter(environments, settings),
        keys=HomeKeys(settings.home / "keys"),
        notifiers=open_notifiers(settings),
        metrics=PrometheusSource(),
        clock=core.clock,
        open_remote=core.open_remote,
        actor=actor,
    )
