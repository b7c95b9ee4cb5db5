"""The part of the house that datasets need: quick to open, since commands on datasets are run often."""

from tournant.adapters.blobs.keeper import LocalKeeper
from tournant.adapters.blobs.local import LocalBlobStore
from tournant.adapters.tables import DuckDbTables
from tournant.bootstrap.home import make_home
from tournant.config import Settings
from tournant.domain.data import Remote
from tournant.ports import RemoteStore, StoreKeeper, Urls
from tournant.services.context import DataContext

__all__ = ["open_data_context", "open_keeper"]


def open_keeper(settings: Settings) -> StoreKeeper:
    """Open a home's content store alone: no database."""
    return LocalKeeper(_open_store(settings))


def open_data_context(settings: Settings, *, actor: str = "system") -> DataContext:
    """Open metadata (brought up to date) and content store."""
    from tournant.adapters.clock import BusinessClock  # these load SQLAlchemy, which `status` need not pay for
    from tournant.adapters.sql.migrate import upgrade
    from tournant.adapters.sql.transactions import SqlTransactions, create_engine
    from tournant.domain.control import ClockState

    make_home(settings)
    engine = create_engine(settings.database_url)
    upgrade(engine)
    transactions = SqlTransactions(engine)
    with transactions.begin(write=False) as uow:
        replay = uow.get(ClockState, "replay")
    store = _open_store(settings)

    def open_remote(remote: Remote) -> RemoteStore:
        from tournant.adapters.blobs.remote import ObjectStoreRemote  # obstore

        return ObjectStoreRemote(store, remote, settings.environ)

    def open_urls() -> Urls:
        from tournant.adapters.blobs.urls import ObjectUrls

        return ObjectUrls(settings.environ)

    return DataContext(
        settings=settings,
        transactions=transactions,
        blobs=store,
        clock=BusinessClock(replay.now if replay else None),
        actor=actor,
        keeper=LocalKeeper(store),
        open_remote=open_remote,
        tables=DuckDbTables(),
        open_urls=open_urls,
    )


def _open_store(settings: Settings) -> LocalBlobStore:
    return LocalBlobStore(settings.home / "blobs")
