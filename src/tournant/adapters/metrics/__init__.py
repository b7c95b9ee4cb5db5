"""Sources of metrics: Prometheus."""

from tournant.adapters.metrics.prometheus import PrometheusSource

__all__ = ["PrometheusSource"]
