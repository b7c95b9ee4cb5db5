"""Metrics of revisions, from the counters that the control plane gets too."""

from collections.abc import Iterator

from tournant.domain.latency import LATENCY_BOUNDS_MS
from tournant.serving.counters import Cell
from tournant.serving.endpoint import Endpoint
from tournant.serving.metrics import Sample, histogram_samples

__all__ = ["info_samples", "revision_samples"]

_SECONDS = tuple(bound / 1e3 for bound in LATENCY_BOUNDS_MS)


def revision_samples(cell: Cell, **labels: str) -> Iterator[Sample]:
    """Give what a revision did in one role."""
    yield Sample.one("tournant_predictions_total", cell.rows, **labels)
    yield Sample.one("tournant_revision_requests_total", cell.requests, **labels)
    yield Sample.one("tournant_revision_errors_total", cell.errors, **labels)
    yield Sample.one("tournant_fallbacks_total", cell.fallbacks, **labels)
    family, total = "tournant_model_seconds", cell.latency_sum_ms / 1e3
    yield from histogram_samples(family, _SECONDS, cell.latency, total, **labels)


def info_samples(endpoint: Endpoint) -> Iterator[Sample]:
    """Name the model version and the datasets of each revision in a deployment."""
    arms = [endpoint.stable, *([endpoint.canary] if endpoint.canary else ()), *endpoint.shadows]
    for arm in arms:
        model = arm.held.route.model
        labels = {
            "deployment": endpoint.name,
            "revision": arm.held.id,
            "role": arm.role,
            "model_version": model.version,
            "datasets": ",".join(model.datasets),
        }
        yield Sample.one("tournant_revision_info", 1, **labels)
