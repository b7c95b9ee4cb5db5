"""Prometheus metrics of a gateway: gathered from what is counted anyway, and added up over the processes of one home.

Each process writes its samples beside its identity every second, carries on from them after a restart, and whoever is
asked adds the others' to its own: behind one port any of them may answer.
"""

import time
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import msgspec

from tournant.domain.latency import LATENCY_BOUNDS_MS

__all__ = ["BATCH_BOUNDS", "CONTENT_TYPE", "Histogram", "Metrics", "Sample", "render"]

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
FILE = "metrics.json"
STALE_SECONDS = 5.0  # a process that wrote nothing for so long is gone: what it counted counts, what it held does not
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SECONDS = tuple(bound / 1e3 for bound in LATENCY_BOUNDS_MS)
_FAMILIES: Mapping[str, tuple[str, str]] = {
    "tournant_requests_total": ("counter", "Requests answered, by protocol and HTTP status."),
    "tournant_errors_total": ("counter", "Requests that got an error, by its code."),
    "tournant_request_seconds": ("histogram", "Time from a request's arrival to its answer."),
    "tournant_predictions_total": ("counter", "Rows predicted by a revision in a role."),
    "tournant_revision_requests_total": ("counter", "Requests that a revision was asked."),
    "tournant_revision_errors_total": ("counter", "... of which it did not answer."),
    "tournant_fallbacks_total": ("counter", "Requests that stable answered for a canary."),
    "tournant_model_seconds": ("histogram", "A model's own time for one row, its queue included."),
    "tournant_batch_rows": ("histogram", "Rows that went to a worker together."),
    "tournant_queue_rows": ("gauge", "Rows that wait for a worker."),
    "tournant_workers": ("gauge", "Worker processes that serve."),
    "tournant_worker_restarts_total": ("counter", "Workers started again."),
    "tournant_shadow_queue_rows": ("gauge", "Rows that wait for a shadow."),
    "tournant_shadow_lag_seconds": ("gauge", "How long the first of them has waited."),
    "tournant_shadow_dropped_total": ("counter", "Rows that a shadow never saw: it was too far behind."),
    "tournant_log_dropped_total": ("counter", "Predictions that are not in the log: the spool was full."),
    "tournant_revision_info": ("gauge", "The revisions routed: their model version and its dataset versions."),
}
_GREATEST = frozenset(("tournant_revision_info", "tournant_shadow_lag_seconds"))  # of several processes, not their sum

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One line of the exposition; `series` is its family's name, or that and `_bucket`, `_sum`, `_count`."""

    family: str
    series: str
    labels: Labels
    value: float

    @classmethod
    def one(cls, family: str, value: float, **labels: str) -> "Sample":
        """Give the sample of a family that has one series."""
        return cls(family, family, tuple(labels.items()), value)


class Histogram:
    """Counts by upper bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = _SECONDS) -> None:
        """Start at nothing."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def note(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def samples(self, family: str, **labels: str) -> Iterator[Sample]:
        """Give it as samples, its buckets cumulative."""
        yield from histogram_samples(family, self.bounds, self.counts, self.total, **labels)


def histogram_samples(
    family: str, bounds: Iterable[float], counts: Iterable[int], total: float, **labels: str
) -> Iterator[Sample]:
    """Give counts by upper bound (and one beyond the last) as cumulative samples."""
    so_far = 0
    for bound, count in zip((*(f"{bound:g}" for bound in bounds), "+Inf"), counts, strict=True):
        so_far += count
        yield Sample(family, f"{family}_bucket", (*labels.items(), ("le", bound)), so_far)
    yield Sample(family, f"{family}_sum", tuple(labels.items()), total)
    yield Sample(family, f"{family}_count", tuple(labels.items()), so_far)


class _Kept(msgspec.Struct):
    at: float
    samples: list[Sample]


class Metrics:
    """Request metrics of one process, and the sum over all processes of its home. Belongs to the event loop."""

    def __init__(self, folder: Path | None) -> None:
        """Carry on from what an earlier life wrote in `folder`; None keeps nothing and knows no others."""
        self._folder = folder
        self._keeping = Lock()
        self._requests: dict[tuple[str, str, int], int] = {}
        self._errors: dict[tuple[str, str, str], int] = {}
        self._seconds: dict[tuple[str, str], Histogram] = {}
        self._before = [s for s in _read(folder / FILE, 0.0) if _kind(s) != "gauge"] if folder else []

    def answered(self, deployment: str, protocol: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (deployment, protocol, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        histogram = self._seconds.get(key[:2])
        if histogram is None:
            histogram = self._seconds[key[:2]] = Histogram()
        histogram.note(seconds)

    def failed(self, deployment: str, protocol: str, code: str) -> None:
        """Count one request's error."""
        key = (deployment, protocol, code)
        self._errors[key] = self._errors.get(key, 0) + 1

    def forget(self, revisions: Container[str]) -> None:
        """Drop what earlier lives counted of revisions."""
        self._before = [sample for sample in self._before if dict(sample.labels).get("revision") not in revisions]

    def revisions(self) -> set[str]:
        """Name the revisions of which earlier lives counted something."""
        return {value for sample in self._before for name, value in sample.labels if name == "revision"}

    def gather(self, more: Iterable[Sample]) -> list[Sample]:
        """Give this process's samples: requests, what its gateway tells (`more`), and its earlier lives'."""
        return _added([*self._before, *self._own(), *more])

    def keep(self, samples: list[Sample]) -> None:
        """Write samples for the other processes and for the next life; may run in a thread."""
        if self._folder is None:
            return
        part = self._folder / f".{FILE}"
        with self._keeping:
            part.write_bytes(msgspec.json.encode(_Kept(time.time(), samples)))
            part.replace(self._folder / FILE)

    def everyone(self, own: list[Sample]) -> list[Sample]:
        """Add what the other processes of this home wrote last."""
        if self._folder is None:
            return own
        others = (path for path in self._folder.parent.glob(f"*/{FILE}") if path.parent != self._folder)
        return _added([*own, *(sample for path in others for sample in _read(path, STALE_SECONDS))])

    def _own(self) -> Iterator[Sample]:
        for (deployment, protocol, status), count in self._requests.items():
            yield Sample.one(
                "tournant_requests_total", count, deployment=deployment, protocol=protocol, status=str(status)
            )
        for (deployment, protocol, code), count in self._errors.items():
            yield Sample.one("tournant_errors_total", count, deployment=deployment, protocol=protocol, kind=code)
        for (deployment, protocol), histogram in self._seconds.items():
            yield from histogram.samples("tournant_request_seconds", deployment=deployment, protocol=protocol)


def render(samples: Iterable[Sample]) -> bytes:
    """Write samples in Prometheus' text format."""
    families: dict[str, list[str]] = {}
    for sample in samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
        line = f"{sample.series}{{{labels}}} {sample.value:.10g}" if labels else f"{sample.series} {sample.value:.10g}"
        families.setdefault(sample.family, []).append(line)
    lines = []
    for name, (kind, words) in _FAMILIES.items():
        if name in families:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *families[name]]
    return ("\n".join(lines) + "\n").encode()


def _added(samples: Iterable[Sample]) -> list[Sample]:
    sums: dict[tuple[str, str, Labels], float] = {}
    for sample in samples:
        key = sample[:3]
        before = sums.get(key, 0.0)
        sums[key] = max(before, sample.value) if sample.family in _GREATEST else before + sample.value
    return [Sample(*key, value) for key, value in sums.items()]


def _read(path: Path, stale_seconds: float) -> list[Sample]:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (FileNotFoundError, msgspec.DecodeError):
        return []
    fresh = time.time() - kept.at < stale_seconds
    return [sample for sample in kept.samples if fresh or _kind(sample) != "gauge"]


def _kind(sample: Sample) -> str:
    return _FAMILIES.get(sample.family, ("gauge", ""))[0]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
