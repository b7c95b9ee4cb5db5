"""What rollouts' verdicts cost, by simulation: false rollbacks under peeking, and how much a bad version takes to be stopped.

Everything is judged by `decide`, the decision that judges real rollouts. Seeds are fixed; a share's binomial standard error is
printed beside it. Peers judge the same streams: a fixed-sample test that peeks, and betting against a fixed stable rate.
"""

import math
import statistics
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from tournant.domain.betting import Trials, log_wealth
from tournant.domain.label_gates import label_gates
from tournant.domain.pairing import LabelledPairs, judge_labels
from tournant.domain.rollout import Phase, Rollout, RolloutStrategy, Verdict
from tournant.domain.rollout_gates import Judge
from tournant.domain.simulation import Simulated, Stream, Version, simulate_rollout

ALPHA = 0.05
Figure = dict[str, object]
# A/A: margins of zero, so that the promise is tested where it is tight; every step is watched for 75 seconds and more.
WATCHED = RolloutStrategy(
    canary_percents=(5.0, 25.0, 50.0),
    shadow_hold_seconds=75.0,
    hold_seconds=75.0,
    limit_seconds=150.0,
    minimum_requests=100,
    max_error_increase=0.0,
    alpha=ALPHA,
)
EQUAL = Version(error_rate=0.02, slow_share=0.02)
STREAMS = {
    "random split": Stream(requests_per_second=20),
    "random split, bursts": Stream(requests_per_second=20, bursts=True),
    "sticky split, 300 unequal entities": Stream(requests_per_second=20, entities=300),
    "sticky split, entities and bursts": Stream(requests_per_second=20, entities=300, bursts=True),
}
# Half the traffic at once, looked at after every ten requests.
HALF = RolloutStrategy(shadow=False, canary_percents=(50.0,), minimum_requests=100_000, limit_seconds=1e6, alpha=ALPHA)
PROMISED = RolloutStrategy(canary_percents=(5.0, 25.0, 50.0), minimum_requests=200, alpha=ALPHA)


def run(*, quick: bool) -> dict[str, Figure]:
    """Give the simulated figures."""
    with ProcessPoolExecutor(2) as pool:
        return {
            **_false_rollbacks(pool, 25 if quick else 500),
            **_requests_to_stop(pool, 30 if quick else 400),
            **_labels_to_stop(pool, 20 if quick else 200),
            **_good_versions(pool, 40 if quick else 400),
        }


def _simulate(
    strategy: RolloutStrategy, stream: Stream, stable: Version, candidate: Version, look: float, seed: int
) -> Simulated:
    return simulate_rollout(strategy, stream=stream, stable=stable, candidate=candidate, seed=seed, look_seconds=look)


def _false_rollbacks(pool: ProcessPoolExecutor, runs: int) -> dict[str, Figure]:
    failed = Counter()
    for name, stream in STREAMS.items():
        found = list(pool.map(partial(_simulate, WATCHED, stream, EQUAL, EQUAL, 1.0), range(runs), chunksize=10))
        failed[name] = sum(one.phase is Phase.FAILED for one in found)
        print(f"A/A, {name:<36} {failed[name]:>4} of {runs} rolled back {_error(failed[name], runs)}")
    peeking = sum(pool.map(_peeked, range(runs), chunksize=10))
    fixed = sum(pool.map(_against_fixed_rate, range(runs), chunksize=10))
    print(f"A/A, fixed-sample test that peeks         {peeking:>4} of {runs} {_error(peeking, runs)}")
    print(f"A/A, betting against a fixed stable rate  {fixed:>4} of {runs} {_error(fixed, runs)}")
    total = runs * len(STREAMS)
    share = sum(failed.values()) / total
    worst = max(failed.values()) / runs
    return {
        f"false rollbacks, {total:,} A/A, %": _at_most(100 * share, 100 * ALPHA, peer=100 * fixed / runs),
        "false rollbacks, worst stream, %": _at_most(100 * worst, 100 * ALPHA, peer=100 * peeking / runs),
    }


def _error(count: int, runs: int) -> str:
    share = count / runs
    return f"({100 * share:.1f} % ± {100 * math.sqrt(share * (1 - share) / runs):.1f})"


def _streams(seed: int, looks: int = 300, share: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    own = dice.binomial(20, share, looks)
    p = np.full(looks, EQUAL.error_rate)
    return own.cumsum(), dice.binomial(own, p).cumsum(), (20 - own).cumsum(), dice.binomial(20 - own, p).cumsum()


def _peeked(seed: int) -> bool:
    """A two-proportion z-test at 5 %, looked at every second."""
    n, x, m, y = _streams(seed)
    pooled = (x + y) / (n + m)
    deviation = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / np.maximum(m, 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return bool(((x / n - y / np.maximum(m, 1)) / deviation > 1.645)[5:].any())


def _against_fixed_rate(seed: int) -> bool:
    """Anytime-valid betting, but against the rate that stable happened to have in 500 requests before."""
    n, x, _, _ = _streams(seed, share=0.5)
    rate = max(np.random.default_rng(10_000 + seed).binomial(500, EQUAL.error_rate) / 500, 0.001)
    return any(
        log_wealth([Trials(share=1, requests=int(a), candidate=int(b))], rate) >= -math.log(ALPHA)
        for a, b in zip(n, x, strict=True)
    )


def _requests_to_stop(pool: ProcessPoolExecutor, runs: int) -> dict[str, Figure]:
    stable, bad = Version(error_rate=0.01), Version(error_rate=0.05)
    run = partial(_simulate, HALF, Stream(requests_per_second=20), stable, bad, 0.5)
    stops = [one.requests for one in pool.map(run, range(runs), chunksize=10)]
    one_sided, two_sided = (fixed_sample(0.05, 0.01, HALF.max_error_increase, z) for z in (1.645, 1.960))
    print(
        f"1 % → 5 % errors: stopped after {statistics.median(stops):,.0f} canary requests (median of {runs}); fixed-sample test at"
        f" {100 * ALPHA:g} %, power 80 %, the same limit: {one_sided:,.0f} (one-sided), {two_sided:,.0f} (two-sided)"
    )
    ours = statistics.median(stops)
    return {"requests to stop 1 % → 5 % errors": _at_most(ours, 1.5 * one_sided, peer=one_sided)}


def fixed_sample(p: float, q: float, limit: float, z: float, power_z: float = 0.8416) -> float:
    """The size an arm of a fixed-sample test of p - q against `limit` (Fleiss, Levin, Paik 2003, ch. 4).

    >>> round(fixed_sample(0.05, 0.01, 0.0, 1.96))
    282
    """
    return (z + power_z) ** 2 * (p * (1 - p) + q * (1 - q)) / (p - q - limit) ** 2


def _labels_to_stop(pool: ProcessPoolExecutor, runs: int) -> dict[str, Figure]:
    figures = {}
    for name, both in (("independent", 0.015), ("correlated", 0.06)):
        stops = list(pool.map(partial(_labels, both), range(runs), chunksize=5))
        print(f"error .10 → .15 by labels, errors {name}: stopped after {statistics.median(stops):,.0f} labels")
        figures[f"labels to stop .10 → .15, {name}"] = _at_most(statistics.median(stops), 860, peer=856)
    return figures


def _labels(both: float, seed: int, most: int = 8_000, every: int = 20) -> int:
    """How many labelled requests until the loss gate fails, where `both` is the share that both models have wrong."""
    dice = np.random.default_rng(seed)
    label, fate = (dice.random(most) < 0.5).astype(float), dice.random(most)
    own_wrong, stable_wrong = fate < 0.15, (fate < both) | (fate > 1 - (0.10 - both))
    columns = {
        "event_time": np.arange(most, dtype=float),
        "stable": np.where(stable_wrong, 1 - label, label),
        "candidate": np.where(own_wrong, 1 - label, label),
        "label": label,
    }
    strategy = replace(HALF, minimum_labels=100, max_loss_increase=0.0, evidence="row")
    rollout = Rollout(
        id="r", deployment="d", revision="d/2", stable="d/1", strategy=strategy, started_at=0, step_started_at=0
    )
    for seen in range(every, most, every):
        pairs = LabelledPairs(**{name: values[:seen] for name, values in columns.items()})
        evidence = judge_labels(rollout, pairs, "error_rate", unit_seconds=86_400.0)
        if label_gates(Judge(strategy), evidence, "error_rate")[0].verdict is Verdict.FAILED:
            return seen
    return most


def _good_versions(pool: ProcessPoolExecutor, runs: int) -> dict[str, Figure]:
    good = Version(error_rate=0.005, slow_share=0.002)
    run = partial(_simulate, PROMISED, Stream(requests_per_second=20), good, good, 1.0)
    found = list(pool.map(run, range(runs), chunksize=10))
    promoted = sum(one.phase is Phase.PROMOTED for one in found)
    promised = PROMISED.minimum_requests * (1 + len(PROMISED.canary_percents))
    in_time = sum(one.phase is Phase.PROMOTED and one.requests <= 1.25 * promised for one in found)
    print(
        f"no difference: {promoted} of {runs} promoted {_error(promoted, runs)}, {in_time} of them within 1.25 times the"
        f" {promised:,} requests that the settings promise (median {statistics.median(one.requests for one in found):,.0f})"
    )
    return {
        "good version promoted, %": _at_least(100 * promoted / runs, 95),
        "… in the sample promised, %": _at_least(100 * in_time / runs, 95),
    }


def _at_most(ours: float, reach: float, peer: float | None = None) -> Figure:
    ratio = peer / ours if peer is not None and ours else None
    return {"ours": ours, "peer": peer, "floor": None, "ratio": ratio, "reach": reach, "ok": ours <= reach}


def _at_least(ours: float, reach: float) -> Figure:
    return {"ours": ours, "peer": None, "floor": None, "ratio": None, "reach": reach, "ok": ours >= reach}
