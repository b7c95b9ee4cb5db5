"""What every use case is given: the ports, the settings and who asks."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from tournant.config import Settings
from tournant.domain.control import Event
from tournant.domain.data import Remote
from tournant.ports import (
    BlobStore,
    Clock,
    EnvironmentBuilder,
    Executor,
    Keys,
    Lockstep,
    MetricSource,
    ModelConverter,
    Notifier,
    PredictionLog,
    RemoteStore,
    StoreKeeper,
    TableComparer,
    Transactions,
    Urls,
)

__all__ = ["Context", "CoreContext", "DataContext", "id_at", "new_id"]


def new_id() -> str:
    """Give a new id: 32 hexadecimal digits that sort by creation time (48 bits of milliseconds, then random)."""
    return f"{time.time_ns() // 1_000_000:012x}{uuid.uuid4().hex[12:]}"


def id_at(seconds: float) -> str:
    """Give what every id made at or after a (real) time sorts behind, and every earlier one before."""
    return f"{int(seconds * 1000):012x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreContext:
    """What every use case works with: metadata, content, business time, and who asks."""

    settings: Settings
    transactions: Transactions
    blobs: BlobStore
    clock: Clock
    open_remote: Callable[[Remote], RemoteStore]
    actor: str = "system"

    def acting_as(self, actor: str) -> Self:
        """Give the same house to someone else."""
        return replace(self, actor=actor)

    def event(self, kind: str, subject: str, summary: str, **data: object) -> Event:
        """Make the event of a state change at the business time it happens."""
        return Event(
            id=new_id(),
            time=self.clock.now(),
            recorded_at=time.time(),
            kind=kind,
            subject=subject,
            actor=self.actor,
            summary=summary,
            data=data,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataContext(CoreContext):
    """The house as a use case on datasets sees it: quick to open."""

    keeper: StoreKeeper
    tables: TableComparer
    open_urls: Callable[[], Urls]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(CoreContext):
    """The whole house."""

    predictions: PredictionLog
    executor: Executor
    environments: EnvironmentBuilder
    converter: ModelConverter
    keys: Keys
    notifiers: tuple[Notifier, ...]
    metrics: MetricSource
    lockstep: Lockstep | None = None
