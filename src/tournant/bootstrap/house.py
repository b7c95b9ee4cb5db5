"""The house with nothing served: the ports of a home, chosen and opened."""

from tournant.adapters.blobs.local import LocalBlobStore
from tournant.adapters.clock import BusinessClock
from tournant.adapters.compute.local import LocalExecutor
from tournant.adapters.environments.uv import UvEnvironments
from tournant.adapters.keys import HomeKeys
from tournant.adapters.metrics import PrometheusSource
from tournant.adapters.notify import open_notifiers
from tournant.adapters.predictions.duckdb import DuckDbPredictionLog
from tournant.adapters.sql.migrate import upgrade
from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.bootstrap.home import make_home
from tournant.config import Settings
from tournant.conversion import OnnxConverter
from tournant.domain.control import ClockState
from tournant.services.context import Context

__all__ = ["open_context"]


def open_context(settings: Settings, *, actor: str = "system") -> Context:
    """Open a home: metadata (brought up to date), content store and all the rest a use case needs."""
    make_home(settings)
    engine = create_engine(settings.database_url)
    upgrade(engine)
    transactions = SqlTransactions(engine)
    blobs = LocalBlobStore(settings.home / "blobs")
    environments = UvEnvironments(settings)
    with transactions.begin(write=False) as uow:
        replay = uow.get(ClockState, "replay")
    return Context(
        settings=settings,
        transactions=transactions,
        blobs=blobs,
        predictions=DuckDbPredictionLog(blobs),
        executor=LocalExecutor(settings.home / "jobs", settings),
        environments=environments,
        converter=OnnxConverter(environments, settings),
        keys=HomeKeys(settings.home / "keys"),
        notifiers=open_notifiers(settings),
        metrics=PrometheusSource(),
        clock=BusinessClock(replay.now if replay else None),
        actor=actor,
    )
