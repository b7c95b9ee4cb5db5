"""The house with nothing served: the ports of a home, chosen and opened."""

from tournant.adapters.compute.local import LocalExecutor
from tournant.adapters.environments.uv import UvEnvironments
from tournant.adapters.notify.log import LogNotifier
from tournant.adapters.notify.webhook import WebhookNotifier
from tournant.adapters.predictions.duckdb import DuckDbPredictionLog
from tournant.bootstrap.datasets import open_data_context
from tournant.config import Settings
from tournant.conversion import OnnxConverter
from tournant.services.context import Context

__all__ = ["open_context"]


def open_context(settings: Settings, *, actor: str = "system") -> Context:
    """Open a home: metadata (brought up to date), content store and all the rest a use case needs."""
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
        notifiers=(LogNotifier(), *(WebhookNotifier(url) for url in settings.webhooks)),
        clock=core.clock,
        actor=actor,
    )
