"""Simulating rollouts of synthetic good, bad and borderline versions under a deployment's own settings."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from tournant.domain.deployment import DeploymentConfig
from tournant.domain.rollout import Phase
from tournant.domain.simulation import Simulated, Stream, Version, loss_increase, simulate_rollout
from tournant.errors import Invalid
from tournant.services.references import UNIT_SECONDS

__all__ = ["SimulatedVersion", "simulate_versions"]

STABLE = Version(error_rate=0.005, slow_share=0.002)
LOOKS_A_STEP = 60
_FEWEST_SECONDS = 0.05
_CLEARLY_WORSE = 1.0  # on the logit: every probability is too high


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedVersion:
    """How `runs` simulated rollouts of one synthetic version ended.

    The medians are over all runs: the candidate's requests (copies in shadow included), labelled pairs, and seconds of
    business time. `gates` counts by which gate it failed.
    """

    name: str
    should: str  # "be promoted", "be stopped", or "either"
    runs: int
    promoted: int
    failed: int
    inconclusive: int
    requests: float
    labels: float
    seconds: float
    gates: dict[str, int]


def simulate_versions(
    config: DeploymentConfig,
    *,
    requests_per_second: float,
    entities: int = 0,
    labelled: float = 1.0,
    runs: int = 40,
    seed: int = 0,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> list[SimulatedVersion]:
    """Roll each synthetic version out `runs` times, on all cores; the same seed gives the same numbers."""
    if requests_per_second <= 0 or runs < 1 or not 0 <= labelled <= 1:
        raise Invalid(
            "a simulation needs a positive rate of requests, at least one run, and a labelled share from 0 to 1"
        )
    stream = Stream(
        requests_per_second=requests_per_second,
        entities=entities,
        labelled=labelled,
        unit_seconds=UNIT_SECONDS[config.monitors.unit],
    )
    simulated = []
    with ProcessPoolExecutor() as pool:
        for name, should, version in _versions(config):
            on_progress(f"{name}: {runs} rollouts …")
            run = partial(_run, config, stream, version)
            simulated.append(_sum_up(name, should, list(pool.map(run, range(seed, seed + runs), chunksize=4))))
    return simulated


def _run(config: DeploymentConfig, stream: Stream, version: Version, seed: int) -> Simulated:
    return simulate_rollout(
        config.rollout,
        stream=stream,
        stable=STABLE,
        candidate=version,
        seed=seed,
        look_seconds=_look_seconds(config, stream),
        metric=config.monitors.metric,
        slo_p99_ms=config.slo_p99_ms,
    )


def _versions(config: DeploymentConfig) -> list[tuple[str, str, Version]]:
    limit = config.rollout.max_error_increase
    errors, slow = STABLE.error_rate, STABLE.slow_share
    versions = [
        ("as good as stable", "be promoted", STABLE),
        (
            f"fails {100 * limit:g} points more (at the limit)",
            "either",
            Version(error_rate=errors + limit, slow_share=slow),
        ),
        (
            f"fails {100 * (limit + 0.04):g} points more",
            "be stopped",
            Version(error_rate=errors + limit + 0.04, slow_share=slow),
        ),
        (f"5 % over {config.slo_p99_ms:g} ms", "be stopped", Version(error_rate=errors, slow_share=0.05)),
    ]
    if not config.rollout.minimum_labels:
        return versions
    metric, most = config.monitors.metric, config.rollout.max_loss_increase
    for name, should, bias in (
        (f"loses {most:g} more (at the limit)", "either", _bias_for(most, metric)),
        (f"loses {loss_increase(_CLEARLY_WORSE, metric):.2g} more", "be stopped", _CLEARLY_WORSE),
    ):
        versions.append((name, should, Version(error_rate=errors, slow_share=slow, bias=bias)))
    return versions


def _bias_for(increase: float, metric: str) -> float:
    low, high = 0.0, 8.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if loss_increase(middle, metric) < increase else (low, middle)
    return high


def _look_seconds(config: DeploymentConfig, stream: Stream) -> float:
    """Look about sixty times a step, as often as it would be ready to move on."""
    strategy = config.rollout
    least = min((percent / 100 for percent in strategy.canary_percents), default=1.0)
    fill = strategy.minimum_requests / (stream.requests_per_second * least)
    spans = [span for span in (strategy.hold_seconds, strategy.shadow_hold_seconds, fill) if span > 0]
    spans += [stream.unit_seconds] if strategy.minimum_labels else []
    return max(min(spans, default=1.0) / LOOKS_A_STEP, strategy.limit_seconds / 100_000, _FEWEST_SECONDS)


def _sum_up(name: str, should: str, runs: Sequence[Simulated]) -> SimulatedVersion:
    phases = Counter(run.phase for run in runs)
    return SimulatedVersion(
        name=name,
        should=should,
        runs=len(runs),
        promoted=phases[Phase.PROMOTED],
        failed=phases[Phase.FAILED],
        inconclusive=phases[Phase.INCONCLUSIVE],
        requests=statistics.median(run.requests for run in runs),
        labels=statistics.median(run.labels for run in runs),
        seconds=statistics.median(run.seconds for run in runs),
        gates=dict(Counter(run.gate for run in runs if run.gate)),
    )
