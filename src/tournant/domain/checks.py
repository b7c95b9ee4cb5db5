"""Metric checks: any Prometheus query whose value decides on a rollout too."""

import math
from dataclasses import dataclass

__all__ = ["MetricCheck", "Reading"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricCheck:
    """A query whose value must stay within limits while a candidate rolls out.

    It is read at the Prometheus at `url` at most every `every_seconds` of real time; `failures` readings in a row above
    `maximum` or below `minimum` fail it. In the query, `$deployment` and `$revision` stand for those of the rollout.
    """

    name: str
    url: str
    query: str
    maximum: float | None = None
    minimum: float | None = None
    failures: int = 3
    every_seconds: float = 15.0

    def __post_init__(self) -> None:
        """Refuse a check that could say nothing, or nothing but one thing."""
        if not self.name or not self.query.strip():
            raise ValueError("a metric check needs a name and a query")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"the metric check {self.name!r} needs Prometheus's address (http://…), not {self.url!r}")
        limits = [limit for limit in (self.minimum, self.maximum) if limit is not None]
        if not limits or any(math.isnan(limit) for limit in limits) or limits != sorted(limits):
            raise ValueError(f"the metric check {self.name!r} needs a maximum, or a minimum that is not above it")
        if self.failures < 1 or not self.every_seconds > 0:
            raise ValueError(
                f"the metric check {self.name!r} needs one failure or more, and some seconds between readings"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a query gave once: None for no data; `problem` says why it could not be asked."""

    value: float | None = None
    problem: str = ""
