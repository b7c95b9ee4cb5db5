"""Models that run in workers: right answers, batching, deaths, hangs, slowness."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import ANY

PLAIN = """
class Model:
    def predict_proba(self, rows):
        return [[1 - float(x), float(x)] for _plane, x in rows]
"""
FRAGILE = """
import os, time
class Model:
    def predict_proba(self, rows):
        for plane, x in rows:
            if plane == "raise":
                raise ValueError("cannot handle this plane")
            if plane == "die":
                os._exit(3)
            if plane == "nan":
                return [[0.0, float("nan")] for _ in rows]
            if plane == "slow":
                time.sleep(0.4)
        return [[1 - float(x), float(x)] for _plane, x in rows]
"""
LENGTHS = """
class Model:
    def predict_proba(self, rows):
        import time
        time.sleep(0.05)
        return [[0.0, float(len(rows))] for _ in rows]
"""


def ask(gateway, plane="N1", x=0.25):
    return gateway.predict(inputs={"plane": plane, "x": x})


def test_worker_answers_as_its_model(control, gateway, worked, deployment):
    """A model without conversion runs in a process of its own."""
    control.route(deployment(worked(1, PLAIN)))
    control.wait_applied()
    assert control.status("flights/1").mode == "worker"
    status, answer = gateway.predict(inputs=[{"plane": "N1", "x": 0.25}, {"plane": "N2", "x": 0.75}], key=["a", "b"])
    assert status == 200
    assert [prediction["score"] for prediction in answer["predictions"]] == [0.25, 0.75]


def test_requests_that_wait_for_a_busy_worker_go_together(control, gateway, worked, deployment):
    """The batch is what was queued meanwhile."""
    control.route(deployment(worked(1, LENGTHS)))
    control.wait_applied()
    with ThreadPoolExecutor(8) as threads:
        sizes = [a[1]["predictions"][0]["score"] for a in threads.map(lambda _: ask(gateway), range(16))]
    assert max(sizes) > 1


def test_one_bad_row_does_not_fail_its_neighbours(control, gateway, worked, deployment):
    """Requests batched with one that the model refuses are answered."""
    control.route(deployment(worked(1, FRAGILE.replace("0.4", "0.05"))))
    control.wait_applied()
    planes = ["slow", *["raise", "N1"] * 6]
    with ThreadPoolExecutor(len(planes)) as threads:
        statuses = [answer[0] for answer in threads.map(lambda plane: ask(gateway, plane), planes)]
    assert statuses == [200, *[500, 200] * 6]


def test_canary_in_a_worker_never_hurts_a_client(control, gateway, converted, worked, deployment):
    """Raising, dying, not finite, too slow: stable answers all of it, within the same request."""
    stable, canary = converted(1), worked(2, FRAGILE)
    route = deployment(stable, canary, canary=canary.id, canary_weight=10_000, rollout="r", slo_p99_ms=100.0)
    control.route(route)
    control.wait_applied()
    for plane in ("raise", "nan", "slow", "die"):
        time.sleep(0.5 if plane == "die" else 0)  # the slow one is still at work
        status, answer = ask(gateway, plane)
        assert (plane, status, answer.get("revision")) == (plane, 200, "flights/1")
    control.barrier(1.0)
    errors = {row["entity"]: row["error"] for row in control.rows() if row["role"] == "canary"}
    assert "cannot handle this plane" in errors["raise"]
    assert "not a finite number" in errors["nan"]
    assert "deadline" in errors["slow"]
    assert set(errors) == {"raise", "nan", "slow", "die"}


def test_stable_worker_is_restarted_when_killed(control, gateway, worked, deployment):
    """A request that meets a dead worker is answered by the next one."""
    control.route(deployment(worked(1, PLAIN)))
    control.wait_applied()
    replica = gateway.process.gateway.fleet.held["flights/1"].predictor
    os.kill(replica.pids[0], signal.SIGKILL)
    assert [ask(gateway)[0] for _ in range(5)] == [200] * 5
    assert replica.restarts == 1


def test_an_idle_worker_that_dies_is_replaced_before_anybody_asks(control, gateway, worked, deployment, wait):
    """Its death is noticed without a request."""
    control.route(deployment(worked(1, PLAIN)))
    control.wait_applied()
    replica = gateway.process.gateway.fleet.held["flights/1"].predictor
    (killed,) = replica.pids
    os.kill(killed, signal.SIGKILL)
    wait(lambda: replica.pids and replica.pids != (killed,))
    assert replica.restarts == 1
    assert ask(gateway) == (200, ANY)


def test_a_worker_that_hangs_is_replaced_and_another_answers(control, run, worked, deployment):
    """Once a model's pace is known, a batch that takes far longer is given to the other worker."""
    gateway = run(workers=2)
    control.route(deployment(worked(1, PLAIN), slo_p99_ms=20_000.0))
    control.wait_applied()
    replica = gateway.process.gateway.fleet.held["flights/1"].predictor
    assert [ask(gateway)[0] for _ in range(5)] == [200] * 5
    before = set(replica.pids)
    assert len(before) == 2
    stopped = before.pop()
    os.kill(stopped, signal.SIGSTOP)
    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: ask(gateway)[0], range(40)))
    assert answers == [200] * 40
    assert time.monotonic() - began < 5  # and not the ten seconds that an unknown model gets
    assert stopped not in replica.pids


def test_workers_share_the_load_and_go_with_their_revision(control, run, worked, deployment, wait):
    """Two workers answer at once; when the revision is no longer routed both processes end."""
    gateway = run(workers=2)
    naming = PLAIN.replace("[1 - float(x), float(x)]", "[0.0, float(__import__('os').getpid())]")
    slow = naming.replace("return", "import time; time.sleep(0.05)\n        return")
    control.route(deployment(worked(1, slow), slo_p99_ms=5_000.0))
    control.wait_applied()
    pids = gateway.process.gateway.fleet.held["flights/1"].predictor.pids
    with ThreadPoolExecutor(6) as threads:
        scores = list(threads.map(lambda _: ask(gateway)[1]["predictions"][0]["score"], range(24)))
    assert {int(score) for score in scores} == set(pids)
    control.route(deployment(worked(2, PLAIN)))
    control.wait_applied()
    wait(lambda: not any(alive(pid) for pid in pids))


def test_circuit_breaker_bypasses_a_failing_canary(control, gateway, converted, worked, deployment):
    """After five errors the canary is hardly asked any more, and what it was spared is still reported."""
    stable, canary = converted(1), worked(2, FRAGILE)
    control.route(deployment(stable, canary, canary=canary.id, canary_weight=10_000, rollout="r"))
    control.wait_applied()
    for _ in range(30):
        assert ask(gateway, "raise")[0] == 200
    control.barrier(1.0)
    errors = [row["error"] for row in control.rows() if row["role"] == "canary"]
    assert len(errors) == 30
    assert sum("bypassed" in error for error in errors) == 24
    assert control.total("flights/2", "canary", "errors") == 6  # the others were not asked: no evidence
    assert control.total("flights/2", "canary", "fallbacks") == 30


def test_model_that_does_not_load_says_why(control, gateway, converted, worked, deployment):
    """The worker's exception is the status, and stable serves on."""
    stable, broken = converted(1), worked(2, "raise RuntimeError('no weights here')")
    failing = worked(3, PLAIN.replace("float(x)", "1 / (x - 0.5)"))
    control.route(deployment(stable, broken, failing, warming=(broken.id,), shadows=(failing.id,)))
    control.wait_applied()
    assert "no weights here" in control.status("flights/2").error
    assert "input example" in control.status("flights/3").error
    assert ask(gateway)[0] == 200


def test_latency_gate_sees_a_slow_candidate(control, gateway, converted, worked, deployment):
    """Every probe over the SLO is counted, and stable's are not."""
    slow = PLAIN.replace("return", "import time; time.sleep(0.03)\n        return")
    stable, candidate = converted(1), worked(2, slow)
    control.route(deployment(stable, candidate, warming=(candidate.id,), warmup_requests=10, slo_p99_ms=20.0))
    control.wait_applied()
    status = control.status("flights/2")
    assert (status.probes, status.probe_over_slo) == (10, 10)
    assert status.p50_ms > 20
    assert status.stable_p99_ms < 20


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
