"""The metadata tables: one for each stored record of `domain`, its columns derived from the record's fields.

Text, numbers and booleans have native columns; everything else is JSON. Migrations are written out by hand and a test
holds them equal to this module.
"""

import dataclasses
import types
import typing
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from tournant.domain.alerts import Alert, Monitor
from tournant.domain.control import ClockState, Event, GatewayState, Lease, RoutesVersion
from tournant.domain.data import Dataset, DatasetTag, DatasetVersion, Remote, StepCacheEntry
from tournant.domain.deployment import Deployment, LogKey, Revision
from tournant.domain.environment import Environment, LockedRequirements
from tournant.domain.logged_models import Artifact, LoggedModel, ModelMetric
from tournant.domain.machine import StepMachine
from tournant.domain.notifications import NotificationCursor
from tournant.domain.predictions import Label, Segment, Traffic
from tournant.domain.profile_records import ReferenceProfile, WindowProfile
from tournant.domain.registry import AliasMove, ModelAlias, ModelSignature, ModelVersion, RegisteredModel
from tournant.domain.retraining import Retraining
from tournant.domain.rollout import Observation, Rollout, RolloutDecision
from tournant.domain.tracking import DatasetInput, Experiment, RunModel, StepRun
from tournant.domain.verification import Verification
from tournant.errors import Invalid

__all__ = ["BYTEWISE", "RECORDS", "Mapping", "metadata"]

metadata = sa.MetaData()
BYTEWISE = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")

_NATIVE: dict[type, type[sa.types.TypeEngine[Any]]] = {
    str: sa.Text,
    float: sa.Double,
    int: sa.BigInteger,
    bool: sa.Boolean,
}


class Mapping:
    """How one record class is stored: its table, its key, and both directions of conversion."""

    def __init__(
        self,
        kind: type[Any],
        table: str,
        key: str,
        *indexes: str,
        unique: tuple[str, ...] = (),
        bytewise: tuple[str, ...] = (),
    ) -> None:
        """Derive the table `table` from the dataclass `kind`; `key` and each index are comma-separated fields.

        Texts in `bytewise` are ordered by their bytes, in every database.
        """
        self.kind = kind
        self.key = tuple(key.split(","))
        hints = typing.get_type_hints(kind)
        self.types = {f.name: hints[f.name] for f in dataclasses.fields(kind)}
        self.json = frozenset(name for name, hint in self.types.items() if _native(hint) is None)
        self.enums = frozenset(
            name for name, hint in self.types.items() if isinstance(hint, type) and issubclass(hint, StrEnum)
        )
        columns = [
            sa.Column(
                name,
                BYTEWISE if name in bytewise else _native(hint) or sa.Text,
                primary_key=name in self.key,
                nullable=_optional(hint),
            )
            for name, hint in self.types.items()
        ]
        self.table = sa.Table(
            table,
            metadata,
            *columns,
            *(
                sa.Index(f"ix_{table}_{spec.replace(',', '_')}", *spec.split(","), unique=spec in unique)
                for spec in (*indexes, *unique)
            ),
        )

    def to_row(self, record: object) -> dict[str, Any]:
        """Give a record's column values."""
        row = {name: getattr(record, name) for name in self.types}
        for name in self.json:
            row[name] = msgspec.json.encode(row[name]).decode()
        for name in self.enums:
            row[name] = row[name].value
        return row

    def to_record(self, values: dict[str, Any]) -> Any:
        """Give the record of a row's values (which it takes over)."""
        for name in self.json:
            values[name] = msgspec.json.decode(values[name], type=self.types[name])
        for name in self.enums:
            values[name] = self.types[name](values[name])
        return self.kind(**values)

    def column(self, name: str) -> sa.Column[Any]:
        """Give the column of a field, or say which fields there are."""
        try:
            return self.table.c[name]
        except KeyError:
            raise Invalid(f"{self.kind.__name__} has no field {name!r} (it has: {', '.join(self.types)})") from None


def _optional(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) and type(None) in hint.__args__


def _native(hint: Any) -> type[sa.types.TypeEngine[Any]] | None:
    if _optional(hint):
        rest = [part for part in hint.__args__ if part is not type(None)]
        return _NATIVE.get(rest[0]) if len(rest) == 1 else None
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return sa.Text
    return _NATIVE.get(hint)


RECORDS: dict[type[Any], Mapping] = {
    mapping.kind: mapping
    for mapping in (
        Mapping(Event, "event", "id", "time", "subject,time"),
        Mapping(Lease, "lease", "name"),
        Mapping(ClockState, "clock", "name"),
        Mapping(RoutesVersion, "routes_version", "name"),
        Mapping(GatewayState, "gateway", "id"),
        Mapping(NotificationCursor, "notification_cursor", "notifier"),
        Mapping(Experiment, "experiment", "number", unique=("name",)),
        Mapping(DatasetInput, "dataset_input", "run,name,digest"),
        Mapping(RunModel, "run_model", "run,model,role", "model"),
        Mapping(LoggedModel, "logged_model", "id", "experiment,created_at", "run"),
        Mapping(ModelMetric, "model_metric", "model,key,dataset_name,dataset_digest"),
        Mapping(Artifact, "artifact", "folder,name", "digest", bytewise=("folder",)),
        Mapping(StepRun, "step_run", "run,step"),
        Mapping(StepMachine, "step_machine", "run,step"),
        Mapping(Dataset, "dataset", "name"),
        Mapping(DatasetVersion, "dataset_version", "id", "dataset,number"),
        Mapping(DatasetTag, "dataset_tag", "dataset,tag"),
        Mapping(Remote, "remote", "name"),
        Mapping(StepCacheEntry, "step_cache", "key"),
        Mapping(Environment, "environment", "digest"),
        Mapping(LockedRequirements, "locked_requirements", "key"),
        Mapping(RegisteredModel, "registered_model", "name"),
        Mapping(ModelVersion, "model_version", "id", "model,number", "logged_model"),
        Mapping(ModelAlias, "model_alias", "model,alias"),
        Mapping(AliasMove, "alias_move", "id", "model,asked_at"),
        Mapping(ModelSignature, "model_signature", "model_version"),
        Mapping(Verification, "verification", "id", "model_version,started_at"),
        Mapping(Deployment, "deployment", "name"),
        Mapping(LogKey, "log_key", "deployment"),
        Mapping(Revision, "revision", "id", "deployment,number"),
        Mapping(Rollout, "rollout", "id", "deployment,started_at"),
        Mapping(RolloutDecision, "rollout_decision", "id", "rollout,number"),
        Mapping(Observation, "observation", "rollout,epoch,revision,role"),
        Mapping(Traffic, "traffic", "deployment,revision,role,bucket"),
        Mapping(Segment, "segment", "digest", "deployment,start", "deployment,registered_at"),
        Mapping(
            Label,
            "label",
            "deployment,reference",
            "deployment,event_time",
            "deployment,received_at",
            "deployment,state",
        ),
        Mapping(ReferenceProfile, "reference_profile", "model_version"),
        Mapping(WindowProfile, "window_profile", "id", "deployment,unit_start"),
        Mapping(Monitor, "monitor", "id"),
        Mapping(Alert, "alert", "id", "deployment,opened_at", "state"),
        Mapping(Retraining, "retraining", "id", "deployment,started_at"),
    )
}
