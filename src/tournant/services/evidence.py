"""A unit of evidence as it is read: slice by slice, because a day may bring more predictions than memory holds."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tournant.domain.deployment import Deployment, Revision
from tournant.domain.performance import losses
from tournant.domain.predictions import Label, Segment
from tournant.domain.profile import (
    ColumnProfile,
    ReferenceProfile,
    WindowProfile,
    merge_profiles,
    merge_windows,
    profile_columns,
    profile_like,
    profile_window,
)
from tournant.domain.registry import ModelVersion
from tournant.domain.watch import UnitEvidence
from tournant.ports import Columns, UnitOfWork
from tournant.services.context import Context
from tournant.services.references import UNIT_SECONDS, build_reference, metric_for

__all__ = ["DueUnit", "Unit", "UnitReader"]

SLICE_ROWS = 200_000  # recorded predictions, some 100 MB with thirty inputs
_LIVE_ROLES = ("stable", "canary")


@dataclass(frozen=True, slots=True, kw_only=True)
class DueUnit:
    """A mature unit of evidence that was not taken in yet, or a stretch of several without any traffic."""

    deployment: Deployment
    start: float
    end: float
    units: int
    overdue_seconds: float
    seen: float = 0.0  # how far the monitors had come when the unit was found due

    def same(self, other: "DueUnit") -> bool:
        """Whether what was read for one is what is to be read for the other."""
        mine, theirs = ((u.start, u.end, u.seen, u.deployment.config) for u in (self, other))
        return mine == theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """All that is read for one unit before anything is written."""

    due: DueUnit
    revisions: Mapping[str, Revision]
    references: Mapping[str, ReferenceProfile]  # of the model versions that predicted
    grown: Sequence[ReferenceProfile]  # those of them that took the unit in
    profiles: Sequence[WindowProfile]
    evidence: UnitEvidence


class _Slice(NamedTuple):
    """A part of a unit's time, and the segments that reach into it."""

    start: float
    end: float
    segments: Sequence[Segment]


class UnitReader:
    """Profiles what was predicted in a unit and joins its labels: `step` until there is no more, then take the `unit`.

    A model version that came without reference rows takes its first live units for them: in the cells of the first slice.
    """

    def __init__(self, ctx: Context, due: DueUnit) -> None:
        """Find what there is to read of `due`."""
        self.due = due
        self._ctx = ctx
        name, log = due.deployment.name, due.deployment.config.log
        with ctx.transactions.begin(write=False) as uow:
            segments = uow.find(Segment, deployment=name, start__lt=due.end, end__ge=due.start, order="start,digest")
            self._revisions = {revision.id: revision for revision in uow.find(Revision, deployment=name)}
            ids = sorted({revision.model_version for revision in self._revisions.values()})
            versions = {version.id: version for version in uow.find(ModelVersion, id__in=ids)} if segments else {}
            self._labels = _unit_labels(uow, due) if segments else []
        self._slices = deque(_slices(segments, due.start, due.end))
        self._versions = {
            r.id: versions[r.model_version] for r in self._revisions.values() if r.model_version in versions
        }
        inputs = {column.name for version in self._versions.values() for column in version.signature.inputs}
        self._inputs = sorted(inputs - log.hidden)
        self._references: dict[str, ReferenceProfile] = {}
        self._live: dict[str, dict[str, ColumnProfile]] = {}  # by model version: its inputs in this unit
        self._live_rows: Counter[str] = Counter()
        self._windows: dict[str, WindowProfile] = {}  # by revision
        self._evidence = UnitEvidence(start=due.start, end=due.end, units=due.units)

    def step(self) -> bool:
        """Read one more slice, and tell whether there are others."""
        if self._slices:
            start, end, segments = self._slices.popleft()
            rows = self._ctx.predictions.outcomes(segments, self._labels, start=start, end=end, inputs=self._inputs)
            live = np.isin(rows["role"], _LIVE_ROLES) & ~rows["error"]
            for revision in np.unique(rows["revision"].astype(str)).tolist():
                if revision in self._versions:
                    mask = rows["revision"] == revision
                    self._take(revision, {name: values[mask] for name, values in rows.items()}, live[mask])
            self._evidence = replace(self._evidence, rows=self._evidence.rows + int(live.sum()))
        return bool(self._slices)

    def unit(self) -> Unit:
        """Give what was read."""
        grown = [self._grown(version) for version in self._live]
        return Unit(
            due=self.due,
            revisions=self._revisions,
            references={**self._references, **{reference.model_version: reference for reference in grown}},
            grown=grown,
            profiles=list(self._windows.values()),
            evidence=self._evidence,
        )

    def _take(self, revision: str, rows: Columns, live: npt.NDArray[np.bool_]) -> None:
        """Add what one revision predicted in a slice; `live` are the rows that clients were given."""
        due, config, version = self.due, self.due.deployment.config.monitors, self._versions[revision]
        metric = metric_for(config.metric, version)
        if version.id not in self._references:
            self._references[version.id] = build_reference(self._ctx, version.id, unit=config.unit, metric=metric)
        reference = self._references[version.id]
        if not version.reference and len(reference.units) < 2 * config.window:
            self._grow(version, reference, rows)
        empty = WindowProfile(
            id=f"{revision}/{due.start:.0f}",
            deployment=due.deployment.name,
            revision=revision,
            model_version=version.id,
            unit_start=due.start,
            unit_end=due.end,
        )
        template = reference.units[0] if reference.units else self._live.get(version.id, {})
        window = profile_window(empty, rows, metric=metric, template=template)
        before = self._windows.get(revision)
        self._windows[revision] = merge_windows([before, window]) if before else window
        realised = losses(metric, rows["score"][live], rows["label"][live])
        self._evidence = replace(
            self._evidence,
            labelled=self._evidence.labelled + int((~np.isnan(realised)).sum()),
            loss_sum=self._evidence.loss_sum + float(np.nansum(realised)),
        )

    def _grow(self, version: ModelVersion, reference: ReferenceProfile, rows: Columns) -> None:
        """Add to the unit that the reference of a version without reference rows is to take in."""
        columns = {column.name: rows[column.name] for column in version.signature.inputs if column.name in rows}
        before = self._live.get(version.id)
        cells = reference.units[0] if reference.units else before
        profile = profile_columns(columns) if cells is None else profile_like(columns, cells)
        self._live[version.id] = profile if before is None else merge_profiles([before, profile])
        self._live_rows[version.id] += len(rows["label"])

    def _grown(self, version: str) -> ReferenceProfile:
        before = self._references[version]
        return replace(before, units=(*before.units, self._live[version]), rows=before.rows + self._live_rows[version])


def _unit_labels(uow: UnitOfWork, due: DueUnit) -> list[Label]:
    """The labels that may belong to the unit: their time is the prediction's, or when they became known."""
    config = due.deployment.config
    earliest = due.start - UNIT_SECONDS[config.monitors.unit]
    latest = due.end + config.labels.maturity_seconds
    return uow.find(Label, deployment=due.deployment.name, event_time__ge=earliest, event_time__le=latest)


def _slices(segments: Sequence[Segment], start: float, end: float) -> Iterator[_Slice]:
    """Cut `[start, end)` where segments begin, so that a slice has about `SLICE_ROWS` rows; no prediction is in two.

    A prediction and its shadows are of one time, and so in one slice. `segments` are in order of their start.
    """
    cuts, rows = [start], 0
    for segment in segments:
        if rows + segment.rows > SLICE_ROWS and rows and segment.start > cuts[-1]:
            cuts.append(segment.start)
            rows = 0
        rows += segment.rows
    for left, right in zip(cuts, [*cuts[1:], end], strict=True):
        reaching = [segment for segment in segments if segment.start < right and segment.end >= left]
        if reaching:
            yield _Slice(left, right, reaching)
