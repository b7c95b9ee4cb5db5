"""What every way of running a model offers to the gateway."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from tournant.serving.metrics import Sample
from tournant.serving.outputs import Score
from tournant.serving.schema import Values

__all__ = ["Predictor"]


class Predictor(Protocol):
    """A loaded model. `mode` is `converted` or `worker`."""

    @property
    def mode(self) -> str:
        """How it runs."""
        ...

    @property
    def inline(self) -> bool:
        """Whether it answers on the event loop itself."""
        ...

    async def predict(self, rows: Sequence[Values]) -> Sequence[Score]:
        """Give one score a row, unchecked; ModelFailed if the model raised, WorkerLost if its process went away."""
        ...

    @property
    def held_up(self) -> int:
        """How many requests wait for what is no sign of load: a worker that is started again."""
        ...

    def wait_seconds(self) -> float:
        """Estimate how long a request that came now would wait for the load before it, until the model begins with it."""
        ...

    def samples(self, revision: str) -> Iterable[Sample]:
        """Give the metrics that only this way of running has."""
        ...

    async def close(self) -> None:
        """Give back memory and processes, after requests in flight."""
        ...
