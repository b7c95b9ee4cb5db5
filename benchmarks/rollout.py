"""Rollouts: what verdicts cost and promise, by simulation, and bad releases end to end."""

from benchmarks import rollout_releases, rollout_statistics


def run(*, quick: bool) -> dict[str, dict[str, object]]:
    """Give all figures."""
    return {**rollout_statistics.run(quick=quick), **rollout_releases.run(quick=quick)}
