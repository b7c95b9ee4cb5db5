"""The metric checks of rollouts: read beside the loop, at most so often, anew in each step."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tournant.domain.checks import MetricCheck
from tournant.domain.rollout import Rollout, RolloutStrategy, Verdict
from tournant.services.metric_checks import MetricChecks

CHECK = MetricCheck(
    name="errors", url="http://p", query='sum(errors{d="$deployment",r="$revision"})', maximum=0.05, every_seconds=0.001
)
ROLLOUT = Rollout(
    id="r",
    deployment="flights",
    revision="flights/2",
    stable="flights/1",
    strategy=RolloutStrategy(),
    started_at=0.0,
    step_started_at=0.0,
)


class Source:
    """Gives one answer after another, the last for ever; an exception is raised."""

    def __init__(self, *answers: float | Exception | None, gate: threading.Event | None = None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.gate = gate

    def value(self, url: str, query: str) -> float | None:
        self.asked.append((url, query))
        if self.gate:
            assert self.gate.wait(30)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def judge_until(checks: MetricChecks, wanted: Callable[[Any], bool], rollout: Rollout = ROLLOUT) -> Any:
    deadline = time.monotonic() + 30
    while True:
        (gate,) = checks.gates(rollout, (CHECK,))
        if wanted(gate):
            return gate
        assert time.monotonic() < deadline, f"did not happen within 30 s: {gate}"
        time.sleep(0.002)


def test_a_bad_metric_fails_the_gate_after_so_many_readings() -> None:
    """The query is asked for the rollout's own deployment and revision."""
    source = Source(0.01, 0.5)
    gate = judge_until(MetricChecks(source), lambda gate: gate.verdict is Verdict.FAILED)
    assert source.asked[0] == ("http://p", 'sum(errors{d="flights",r="flights/2"})')
    assert gate.samples >= 4
    assert gate.reason.startswith("errors is 0.5, above its maximum of 0.05, in ")


def test_a_good_metric_is_successful() -> None:
    """Once as many readings have come as could have failed it."""
    checks = MetricChecks(Source(0.01))
    assert checks.gates(ROLLOUT, (CHECK,))[0].verdict is Verdict.WAITING
    gate = judge_until(checks, lambda gate: gate.verdict is Verdict.SUCCESSFUL)
    assert gate.samples >= CHECK.failures


@pytest.mark.parametrize("answer", [None, RuntimeError("it burns")])
def test_no_data_waits(answer: Any) -> None:
    """However long; what is wrong stands in the gate."""
    source = Source(answer)
    checks = MetricChecks(source)
    gate = judge_until(checks, lambda _: len(source.asked) > 10)
    assert gate.verdict is Verdict.WAITING
    assert gate.reason.startswith("errors cannot be read (it burns)" if answer else "errors has no data yet")


def test_a_source_that_hangs_holds_nobody_up() -> None:
    """Judging goes on meanwhile, and asks no second time."""
    source = Source(0.01, gate=threading.Event())
    checks = MetricChecks(source)
    for _ in range(50):
        assert checks.gates(ROLLOUT, (CHECK,))[0].verdict is Verdict.WAITING
        time.sleep(0.001)
    assert len(source.asked) == 1
    assert source.gate
    source.gate.set()
    judge_until(checks, lambda gate: gate.verdict is Verdict.SUCCESSFUL)


def test_it_is_read_at_most_so_often() -> None:
    """However often the loop ticks."""
    source = Source(0.01)
    checks = MetricChecks(source)
    rare = replace(CHECK, every_seconds=1000.0)
    for _ in range(20):
        checks.gates(ROLLOUT, (rare,))
        time.sleep(0.001)
    assert len(source.asked) == 1


def test_each_step_counts_anew() -> None:
    """A reading under 5 % says nothing of 50 %."""
    checks = MetricChecks(Source(0.01))
    judge_until(checks, lambda gate: gate.samples >= 3)
    later = replace(ROLLOUT, epoch=1)
    assert checks.gates(later, (CHECK,))[0].samples <= 1
    judge_until(checks, lambda gate: gate.samples >= 3, later)
    checks.keep(["another"])
    assert checks.gates(later, (CHECK,))[0].samples <= 1
