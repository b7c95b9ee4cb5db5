"""A rollout under traffic: the control plane is killed in the middle, or the candidate is bad, and no request fails."""

import os
import re
import signal
import threading
from collections.abc import Iterator

import pytest

from tournant.domain.deployment import DeploymentConfig
from tournant.domain.rollout import Phase, RolloutStrategy

PROMPT = DeploymentConfig(
    slo_p99_ms=1000.0,  # a machine under test is no place to judge latency
    rollout=RolloutStrategy(shadow=False, canary_percents=(20.0, 50.0), minimum_requests=60, max_score_shift=1.0),
)


class Traffic:
    """A client that never rests: each request's status and who answered, with x from 0 to 9."""

    def __init__(self, tournant, deployment: str) -> None:
        self._tournant, self._deployment = tournant, deployment
        self._stop = threading.Event()
        self.failed: list[object] = []
        self.revisions: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join(40)

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.002):
            number += 1
            row = {"plane": f"N{number % 500}", "x": float(number % 10)}
            try:
                status, answer = self._tournant.predict(self._deployment, inputs=row)
            except OSError as exc:
                self.failed.append(exc)
                continue
            if status == 200:
                self.revisions.append(answer["revision"])
            else:
                self.failed.append(answer)


@pytest.fixture(scope="module")
def deployed(shared, models):
    """Deploy a good first version of a name, and give its traffic and what deploys the next one."""

    def deploy(name: str, number: int, slope: float = 0.1, *, bad: str = "") -> str:
        file = models.write(f"{name}-{number}", slope, bad=bad)
        shared.cli("deploy", file, "--name", name, "--example", models.example, "--wait").fine()
        return name

    return deploy


@pytest.fixture
def rolled(shared, models) -> Iterator:
    """Register a model file as the next version of `name` and start its rollout with a canary; give the rollout's id."""
    with shared.client() as client:

        def roll(name: str, slope: float = 0.1, *, bad: str = "") -> str:
            file = models.write(f"{name}-next", slope, bad=bad)
            version = register(shared, file, name, models.example)
            revision = client.deployments.deploy(name=name, model_version=version, config=PROMPT)
            return next(r.id for r in client.rollouts.list(deployment=name) if r.revision == revision.id)

        yield roll


def register(shared, file, name: str, example) -> str:
    """Register a version as `tournant deploy FILE` does, without deploying it."""
    from tournant.bootstrap.house import open_context
    from tournant.config import Settings
    from tournant.services.project_models import register_file

    return register_file(open_context(Settings(home=shared.home)), file, name=name, example=example).id


def rollout(shared, number: str):
    """Read a rollout's state; None while the control plane is away."""
    try:
        with shared.client() as client:
            return client.rollouts.get(id=number).rollout
    except Exception as exc:
        if type(exc).__name__ not in ("Unavailable", "TournantError"):
            raise
        return None


def ended(shared, number: str):
    """Give a rollout once it has ended."""
    found = rollout(shared, number)
    return found if found and found.phase.final else None


def test_a_control_plane_killed_in_mid_rollout_hurts_nobody(shared, deployed, rolled, wait):
    """SIGKILL between two canary steps: predictions go on, it is restarted, and the rollout ends promoted."""
    name = deployed("steady", 1)
    with Traffic(shared, name) as traffic:
        number = rolled(name, 0.05)
        wait(lambda: (found := rollout(shared, number)) and found.phase is Phase.CANARY)
        killed = shared.record["control_pid"]
        os.kill(killed, signal.SIGKILL)
        served = len(traffic.revisions)
        wait(lambda: len(traffic.revisions) > served + 20)
        wait(lambda: shared.record["control_pid"] != killed and shared.ready())
        found = wait(lambda: ended(shared, number), 60)
        assert found.phase is Phase.PROMOTED, found.reason
        wait(lambda: traffic.revisions[-20:] == [f"{name}/2"] * 20)
    assert not traffic.failed
    with shared.client() as client:
        assert client.deployments.get(name=name).deployment.stable == f"{name}/2"
        weights = [d.weight_percent for d in client.rollouts.get(id=number).decisions]
    assert weights == sorted(weights)


@pytest.mark.parametrize("bad", ["nan", "raises"])
def test_a_bad_version_fails_and_no_request_does(shared, deployed, rolled, wait, bad):
    """A version whose answers from x = 9 on are no numbers, or that raises there, is rolled back; stable answers for it."""
    name = deployed(f"bad-{bad}", 1)
    with Traffic(shared, name) as traffic:
        number = rolled(name, bad=bad)
        found = wait(lambda: ended(shared, number), 60)
        assert found.phase is Phase.FAILED, found.reason
        # whichever gate of the errors is certain first: replayed requests, answers, or those that stable had to give
        assert re.match(r"candidate (error|fallback) rate is .*at least .* at 95 % confidence", found.reason), (
            found.reason
        )
        served = len(traffic.revisions)
        wait(lambda: len(traffic.revisions) > served + 100)
        wait(lambda: traffic.revisions[-50:] == [f"{name}/1"] * 50)
    assert not traffic.failed
    with shared.client() as client:
        details = client.deployments.get(name=name)
    assert details.deployment.stable == f"{name}/1"
    assert {r.id: r.state.value for r in details.revisions}[f"{name}/2"] == "rejected"


def test_a_version_that_fails_on_its_first_canary_requests_is_covered_by_stable(shared, deployed, rolled, wait):
    """With no traffic before the rollout nothing can be probed: the canary meets the bad input first, and users do not notice."""
    name = deployed("unseen", 1)
    number = rolled(name, bad="raises")
    wait(lambda: (found := rollout(shared, number)) and found.phase is Phase.CANARY)
    with Traffic(shared, name) as traffic:
        found = wait(lambda: ended(shared, number), 60)
    assert found.phase is Phase.FAILED, found.reason
    assert not traffic.failed
    assert len(traffic.revisions) > 20
