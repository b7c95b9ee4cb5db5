"""A gateway beside a control plane: predictions, fallback, shadows, barriers, outages, restarts."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tournant.serving import endpoint


def test_predicts_by_named_columns(control, gateway, converted, deployment):
    """A routed converted model answers with its score, version and revision."""
    control.route(deployment(converted(1, 0.5)))
    control.wait_applied()
    status, answer = gateway.predict(inputs={"plane": "N1", "x": 0.5}, key="a")
    assert status == 200
    assert answer["model_version"] == "flights@1"
    assert answer["revision"] == "flights/1"
    assert answer["predictions"][0]["score"] == 0.25
    assert gateway.health() == 200


def test_canary_that_raises_is_answered_by_stable(control, gateway, converted, deployment):
    """The client sees stable's answer, and both rows are in the log."""
    stable, canary = converted(1, 0.0625), converted(2, 0.03125, fragile=True)
    control.route(deployment(stable, canary, canary=canary.id, canary_weight=10_000, rollout="r1", epoch=3))
    control.wait_applied()
    fine = gateway.predict(inputs={"plane": "N1", "x": 8})[1]
    saved = gateway.predict(inputs={"plane": "N1", "x": 10}, key="k")[1]
    assert (fine["revision"], fine["predictions"][0]["score"]) == ("flights/2", 0.25)
    assert (saved["revision"], saved["predictions"][0]["score"]) == ("flights/1", 0.625)
    control.barrier(1_000.0)
    failed, answered = [row for row in control.rows() if row["prediction_id"] == saved["predictions"][0]["id"]]
    assert (failed["role"], failed["score"], failed["fallback"]) == ("canary", None, False)
    assert "raised" in failed["error"]
    assert (answered["role"], answered["score"], answered["fallback"]) == ("stable", 0.625, True)
    assert answered["in.x"] == 10.0
    assert control.total("flights/2", "canary", "errors") == 1
    assert control.total("flights/2", "canary", "fallbacks") == 1
    assert all(delta.rollout == "" for delta in control.deltas if delta.role == "stable")


def test_latencies_of_a_canary_are_compared_by_requests_that_ran_alone(
    control, gateway, converted, deployment, monkeypatch
):
    """Every request counts, but by its latency only one at a time of both arms together, or one of several rows; alone, all do."""
    monkeypatch.setattr(endpoint, "COMPARED_SECONDS", 3600.0)
    stable, canary = converted(1, 0.0625), converted(2, 0.03125)
    control.route(deployment(stable, canary, canary=canary.id, canary_weight=5_000, rollout="r1", epoch=3))
    control.wait_applied()
    for _ in range(20):
        assert gateway.predict(inputs={"plane": "N1", "x": 1.0})[0] == 200
    control.barrier(1_000.0)
    timed = [sum(delta.latency) for delta in control.deltas]
    assert (sum(delta.requests for delta in control.deltas), sum(timed)) == (20, 1)
    assert sum(delta.latency_sum_ms > 0 for delta in control.deltas) == 1
    assert gateway.predict(inputs=[{"plane": "N1", "x": 1.0}] * 2)[0] == 200
    control.route(deployment(stable))
    control.wait_applied()
    assert gateway.predict(inputs={"plane": "N1", "x": 1.0})[0] == 200
    control.barrier(2_000.0)
    later = control.deltas[len(timed) :]
    assert sum(sum(delta.latency) for delta in later) == sum(delta.requests for delta in later)


def test_shadows_pair_with_the_answer_and_are_flushed_at_a_barrier(control, gateway, converted, deployment):
    """After a barrier every shadow row is registered, and the pair sums are shadow minus answered."""
    one, two, three = converted(1, 0.5), converted(2, 0.25), converted(3, 0.125)
    control.route(deployment(one, two, three, shadows=(two.id, three.id), rollout="r1", epoch=1), now=500.0)
    control.wait_applied()
    for _ in range(40):
        assert gateway.predict(inputs={"plane": "N1", "x": 1.0})[0] == 200
    control.barrier(86_400.0)
    rows = control.rows()
    assert len(rows) == 120
    shadows = [row for row in rows if row["role"] == "shadow"]
    assert {row["in.x"] for row in shadows} == {None}
    assert {row["event_time"] for row in rows} == {500.0}
    assert control.total("flights/2", "shadow", "pairs") == 40
    assert control.total("flights/2", "shadow", "pair_sum") == 40 * -0.25
    assert control.total("flights/3", "shadow", "pair_squares") == 40 * 0.375**2
    assert control.total("flights/1", "stable", "requests") == 40


def test_predictions_survive_an_outage_of_the_control_plane(control, gateway, converted, deployment):
    """While the control plane is down predictions go on; when it is back, nothing is missing and nothing is twice."""
    control.route(deployment(converted(1)))
    control.wait_applied()
    control.stop()
    for _ in range(25):
        assert gateway.predict(inputs={"plane": "N1", "x": 0.5})[0] == 200
    control.start()
    control.barrier(1_000.0)
    assert len(control.rows()) == 25
    assert control.total("flights/1", "stable", "requests") == 25


def test_deltas_count_once_when_answers_get_lost(control, gateway, converted, deployment):
    """A report whose acknowledgement is lost is sent again under its sequence."""
    control.route(deployment(converted(1)))
    control.wait_applied()
    control.fail_next_reports = 3
    for _ in range(10):
        assert gateway.predict(inputs={"plane": "N1", "x": 0.5})[0] == 200
    control.barrier(1_000.0)
    assert control.total("flights/1", "stable", "requests") == 10


def test_restart_serves_from_the_disk_cache(control, gateway, converted, deployment):
    """With the control plane gone for good, a restarted gateway still answers, and later delivers what it recorded."""
    control.route(deployment(converted(1, 0.5)))
    control.wait_applied()
    gateway.stop()
    control.stop()
    gateway.start()
    try:
        wait_ready(gateway)
        assert gateway.predict(inputs={"plane": "N1", "x": 0.5})[1]["predictions"][0]["score"] == 0.25
    finally:
        gateway.stop()
    control.start()
    gateway.start()
    control.barrier(1_000.0)
    assert len(control.rows()) == 1
    assert len({segment.gateway for segment in control.segments}) == 1


def test_a_model_that_does_not_load_fails_alone(control, gateway, converted, deployment):
    """The broken revision is reported with its reason; stable serves on, and the table counts as applied."""
    stable = converted(1)
    broken = converted(2)
    damaged = type(broken)(
        id=broken.id,
        model=type(broken.model)(version="flights@2", onnx=control.put(b"no model")),
        signature=broken.signature,
        example=broken.example,
    )
    control.route(deployment(stable, damaged, shadows=(damaged.id,)))
    control.wait_applied()
    status = control.status("flights/2")
    assert status.state == "failed"
    assert "cannot load" in status.error
    assert gateway.predict(inputs={"plane": "N1", "x": 0.5})[0] == 200
    assert gateway.health() == 200


def test_candidate_is_probed_beside_stable(control, gateway, converted, deployment):
    """A warming revision becomes ready with its probes counted, and gets no traffic."""
    stable, candidate = converted(1), converted(2)
    control.route(deployment(stable, candidate, warming=(candidate.id,), warmup_requests=20))
    control.wait_applied()
    status = control.status("flights/2")
    assert (status.state, status.mode, status.probes, status.probe_errors) == ("ready", "converted", 20, 0)
    assert status.p99_ms > 0
    assert status.stable_p99_ms > 0
    assert gateway.predict(inputs={"plane": "N1", "x": 0.5})[1]["revision"] == "flights/1"
    control.route(deployment(candidate))
    control.wait_applied()
    assert gateway.predict(inputs={"plane": "N1", "x": 0.5})[1]["revision"] == "flights/2"


def test_swaps_lose_no_request(control, gateway, converted, worked, deployment):
    """While revisions of both kinds follow each other, every request is answered, and by a revision that was routed."""
    source = "class Model:\n    def predict_proba(self, rows):\n        return [[0.5, 0.5] for _ in rows]\n"
    revisions = [converted(1), worked(2, source), converted(3), worked(4, source)]
    control.route(deployment(revisions[0]))
    control.wait_applied()
    stop = threading.Event()

    def client(_):
        seen = []
        while not stop.is_set():
            seen.append(gateway.predict(inputs={"plane": "N1", "x": 0.5}))
        return seen

    with ThreadPoolExecutor(3) as threads:
        clients = [threads.submit(client, number) for number in range(3)]
        for revision in [*revisions[1:], *revisions]:
            control.route(deployment(revision))
            control.wait_applied()
        stop.set()
        answers = [answer for client in clients for answer in client.result()]
    assert {status for status, _ in answers} == {200}
    assert {answer["revision"] for _, answer in answers} == {revision.id for revision in revisions}
    control.barrier(1.0)
    assert sum(segment.rows for segment in control.segments) == len(answers)
    assert sum(delta.requests for delta in control.deltas) == len(answers)


def test_what_is_routed_no_more_gives_its_memory_back(control, gateway, converted, worked, deployment, wait):
    """A converted model is not referred to by anything any more, a worker's processes have ended."""
    plain = "class Model:\n    def predict_proba(self, rows): return [[0.5, 0.5] for _ in rows]"
    first, second, third = converted(1), worked(2, plain), converted(3)
    control.route(deployment(first, second, third, shadows=(second.id,)))
    control.wait_applied()
    assert gateway.predict(inputs={"plane": "N1", "x": 0.25})[0] == 200
    held = gateway.process.gateway.fleet.held
    model, worker = weakref.ref(held[first.id].predictor), held[second.id].predictor
    pids = worker.pids
    assert pids
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    control.route(deployment(third))
    control.wait_applied()
    wait(lambda: gateway.predict(inputs={"plane": "N1", "x": 0.25})[1]["revision"] == third.id)
    wait(lambda: set(gateway.process.gateway.fleet.held) == {third.id})
    wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    wait(lambda: gc.collect() >= 0 and model() is None)


def test_split_is_sticky_by_entity(control, gateway, converted, deployment):
    """An entity that is on the canary at 30 % stays there at 60 %."""
    stable, canary = converted(1), converted(2)
    planes = [f"N{number}" for number in range(200)]
    chosen = []
    for weight in (3_000, 6_000):
        control.route(deployment(stable, canary, canary=canary.id, canary_weight=weight, rollout="r", epoch=weight))
        control.wait_applied()
        answers = gateway.predict(inputs=[{"plane": plane, "x": 0.5} for plane in planes])[1]["predictions"]
        chosen.append({plane for plane, a in zip(planes, answers, strict=True) if a["revision"] == canary.id})
    assert chosen[0] < chosen[1]
    assert 40 <= len(chosen[0]) <= 80
    assert 90 <= len(chosen[1]) <= 150


def test_split_is_sticky_by_a_header(control, gateway, converted, deployment):
    """With `entity: header:X-User` a user stays on one side, and is counted with a group of users; without it chance decides."""
    stable, canary = converted(1), converted(2)
    control.route(
        deployment(stable, canary, canary=canary.id, canary_weight=5_000, rollout="r", epoch=3, entity="header:X-User")
    )
    control.wait_applied()
    ask = lambda **headers: gateway.predict(headers=headers, inputs={"plane": "N1", "x": 0.5})[1]["revision"]  # noqa: E731
    sides = {f"u{number}": {ask(**{"X-User": f"u{number}"}) for _ in range(3)} for number in range(30)}
    assert all(len(side) == 1 for side in sides.values())
    assert set.union(*sides.values()) == {stable.id, canary.id}
    assert {ask() for _ in range(40)} == {stable.id, canary.id}
    control.barrier(1.0)
    grouped = sum(counts[0] for delta in control.deltas for counts in delta.clusters.values())
    assert grouped == sum(delta.requests for delta in control.deltas) == 130


def test_says_what_is_wrong_with_a_request(control, gateway, converted, deployment):
    """Each bad request gets its status and a message that names the place."""
    control.route(deployment(converted(1)))
    control.wait_applied()
    ask = lambda body, path="/predict/flights": gateway.call("POST", path, body)  # noqa: E731
    cases = [
        (b'{"inputs": {"plane": "N1", "x": 1}', 400, "line 1"),
        (b'{"inputs": {"plane": "N1"}}', 422, "'x'"),
        (b'{"inputs": [{"plane": "N1", "x": 1}, {"plane": "N1", "x": "a"}]}', 422, "row 1"),
        (b'{"inputs": {"plane": "N1", "x": NaN}}', 422, "NaN"),
        (b'{"inputs": {"plane": null, "x": 1}}', 422, "null"),
        (b'{"inputs": {"plane": "N1", "x": 1, "y": 2}}', 422, "'y'"),
        (b'{"inputs": []}', 422, "no row"),
        (b'{"inputs": [[1, 2]]}', 422, "a list of 2"),
    ]
    for body, expected, words in cases:
        status, answer = ask(body)
        assert (status, words in answer["error"]["message"]) == (expected, True), (body, answer)
    status, answer = ask(b"{}", "/predict/fraud")
    assert (status, "flights" in answer["error"]["message"]) == (404, True)
    assert gateway.call("GET", "/predict/flights")[0] == 405
    status, answer = ask(b'{"inputs": "' + b"x" * 10_000_000 + b'"}')
    assert (status, answer["error"]["code"]) == (413, "too_large")
    assert gateway.predict(inputs={"plane": "N1", "x": None})[0] == 500  # NaN in, NaN out: no prediction
    assert gateway.predict(inputs={"plane": "N1", "x": 1})[0] == 200


def wait_ready(gateway):
    """Wait until the gateway is healthy."""
    import time

    deadline = time.monotonic() + 10
    while gateway.health() != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
