"""Bad versions released end to end: a real tournant, real workers, real clients who must not notice.

Each bad version comes twice: bad at once, and bad only after it has answered a while, so that the warm-up lets it pass and the
canary meets real users. Every client request is timed; one that fails or takes longer than the SLO counts against us.
"""

import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tournant.bootstrap.house import open_context
from tournant.config import Settings
from tournant.domain.deployment import DeploymentConfig
from tournant.domain.rollout import Phase, Rollout, RolloutStrategy
from tournant.errors import TournantError
from tournant.sdk.client import Client
from tournant.services.model_files import open_model_folder
from tournant.services.registry import Provenance, register_model

WORK = Path("build/bench-rollout").resolve()
ARMED = WORK / "armed"
CONTROL_PORT, GATEWAY_PORT = 15_100, 18_180
NAME = "pay"
SLO_MS = 200.0
CLIENTS = 2
PATIENCE_SECONDS = 120.0
Figure = dict[str, object]

MODEL = """
import os, signal, time

class Model:
    def __init__(self, kind, after, marker):
        self.kind, self.after, self.marker, self.seen = kind, after, marker, 0
    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.kind == "crash on load" and not self.after and self.armed():
            os._exit(3)
    def armed(self):
        return os.path.exists(self.marker)  # it is registered while it is still good
    def predict(self, rows):
        self.seen += len(rows)
        bad = self.kind if self.armed() and self.seen > self.after else "good"
        if bad == "raise":
            raise RuntimeError("no idea")
        if bad == "hang":
            time.sleep(3600)
        if bad == "slow":
            time.sleep(0.4)
        if bad == "wrong shape":
            return [[0.5, 0.5, 0.5]] * (len(rows) + 1)
        if bad == "NaN":
            return [float("nan")] * len(rows)
        if bad in ("out of memory", "crash on load"):
            os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does to it
        return [0.5] * len(rows)
"""
KINDS = ("raise", "hang", "slow", "crash on load", "wrong shape", "NaN", "out of memory")
LATE = 130  # predictions after which a late one turns bad: more than the warm-up replays
STRATEGY = RolloutStrategy(
    shadow=False, canary_percents=(20.0, 50.0), minimum_requests=400, warmup_requests=50, max_score_shift=1.0
)


class User:
    """A client that asks all the time, over one connection, and times every answer."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.failed: list[str] = []
        self.last: dict[str, float] = {}  # by revision: when it last answered
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", GATEWAY_PORT, timeout=30)
        body = json.dumps({"inputs": {"x": 1.0}})
        while not self._stop.wait(0.003):
            began = time.perf_counter()
            try:
                connection.request("POST", f"/predict/{NAME}", body)
                answer = connection.getresponse()
                content = json.loads(answer.read())
            except (OSError, http.client.HTTPException) as exc:
                self.failed.append(repr(exc))
                connection.close()
                continue
            self.latencies_ms.append(1000 * (time.perf_counter() - began))
            if answer.status != 200:
                self.failed.append(str(content))
            else:
                self.last[content["revision"]] = time.monotonic()


def run(*, quick: bool) -> dict[str, Figure]:
    """Release bad versions, roll back by hand, and kill the control plane at every boundary."""
    shutil.rmtree(WORK, ignore_errors=True)
    home = WORK / "home"
    with _up(home), Client(f"http://127.0.0.1:{CONTROL_PORT}", actor="bench") as client:
        versions = _register(home)
        assert _release(client, versions["good"]).phase is Phase.PROMOTED
        users = [User() for _ in range(CLIENTS)]
        try:
            bad = _bad_releases(client, versions, 14 if quick else 200)
            hand = _rollbacks_by_hand(client, versions, users, 2 if quick else 10)
            killed = _killed(client, versions, home, 1 if quick else 3)
        finally:
            for user in users:
                user.stop()
    failed = [words for user in users for words in user.failed]
    latencies = sorted(ms for user in users for ms in user.latencies_ms)
    over = sum(ms > SLO_MS for ms in latencies)
    print(
        f"clients: {len(latencies):,} requests, {len(failed)} failed, {over} over {SLO_MS:g} ms;"
        f" p99 {latencies[int(0.99 * len(latencies))]:.1f} ms, slowest {latencies[-1]:.1f} ms"
    )
    for words in failed[:3]:
        print(f"  {words}")
    return {
        "failed or over-SLO client requests": _at_most(len(failed) + over, 0),
        "bad versions not stopped": _at_most(bad, 0),
        "rollback by hand, s": _at_most(hand, 1.0),
        "rollouts not resumed, or done twice": _at_most(killed, 0),
    }


def _at_most(ours: float, reach: float) -> Figure:
    return {"ours": ours, "peer": None, "floor": None, "ratio": None, "reach": reach, "ok": ours <= reach}


@contextmanager
def _up(home: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "tournant", "up", "--home", str(home)]
    process = subprocess.Popen([*command, "--port", str(CONTROL_PORT), "--gateway-port", str(GATEWAY_PORT)])
    try:
        _until(lambda: _healthy(CONTROL_PORT) and _healthy(GATEWAY_PORT))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)


def _register(home: Path) -> dict[str, str]:
    """Register two good versions and each bad one; give their ids by name."""
    ctx = open_context(Settings.load(home=home), actor="bench")
    environment = ctx.environments.lock(python="", requirements="joblib\nnumpy\npandas\n")
    python = ctx.environments.build(environment)
    made = {}
    for kind, after in [("good", 0), ("better", 0), *((kind, after) for after in (0, LATE) for kind in KINDS)]:
        name = f"{kind}, late" if after else kind
        folder = WORK / "models" / name.replace(" ", "-")
        folder.mkdir(parents=True)
        (folder / "bad_model.py").write_text(MODEL)
        make = f"import joblib, bad_model; joblib.dump(bad_model.Model({kind!r}, {after}, {str(ARMED)!r}), 'model.pkl')"
        subprocess.run([str(python), "-c", make], cwd=folder, check=True)
        (folder / "input_example.json").write_text('[{"x": 1.0}]')
        model = open_model_folder(folder, flavor="python", entry="model.pkl")
        made[name] = register_model(
            ctx, model, name=NAME, environment=environment, provenance=Provenance(), predict="predict"
        ).id
    ARMED.touch()
    return made


def _release(client: Client, version: str) -> Rollout:
    """Deploy a version and give its rollout, once it has ended."""
    config = DeploymentConfig(slo_p99_ms=SLO_MS, rollout=STRATEGY)
    revision = client.deployments.deploy(name=NAME, model_version=version, config=config, force=True)
    return _ended(client, revision.id)


def _ended(client: Client, revision: str) -> Rollout:
    return _until(lambda: (found := _rollout(client, revision)) and found.phase.final and found)


def _rollout(client: Client, revision: str) -> Rollout | None:
    try:
        return next((r for r in client.rollouts.list(deployment=NAME, limit=5) if r.revision == revision), None)
    except (TournantError, OSError):  # the control plane was killed and is not back yet
        return None


def _bad_releases(client: Client, versions: dict[str, str], count: int) -> int:
    names = [name for name in versions if name not in ("good", "better")]
    missed, gates, spans = 0, Counter(), []
    for number in range(count):
        name = names[number % len(names)]
        began = time.monotonic()
        rollout = _release(client, versions[name])
        spans.append(time.monotonic() - began)
        failing = next((gate.name for gate in rollout.gates if gate.verdict.value == "failed"), "loading")
        gates[name, rollout.phase.value, failing] += 1
        missed += rollout.phase is not Phase.FAILED
    for (name, phase, gate), times in sorted(gates.items()):
        print(f"{name:<22} {phase:<12} {gate:<14} {times:>4} times")
    print(f"{count} bad versions released, {missed} not stopped; median {statistics.median(spans):.1f} s each")
    return missed


def _rollbacks_by_hand(client: Client, versions: dict[str, str], users: list[User], times: int) -> float:
    """Promote, roll back by hand, and give the longest time from the command to the last answer of what was left."""
    slowest = 0.0
    for _ in range(times):
        left = _release(client, versions["better"])
        assert left.phase is Phase.PROMOTED, left.reason
        _until(lambda left=left: all(left.revision in user.last for user in users))
        asked = time.monotonic()
        client.deployments.rollback(name=NAME, reason="by hand")
        time.sleep(1.5)
        slowest = max(slowest, *(user.last[left.revision] - asked for user in users))
    print(
        f"rollback by hand, {times} times: {max(slowest, 0.0):.3f} s at most from the command to the last answer of what was left"
    )
    return max(slowest, 0.0)


def _killed(client: Client, versions: dict[str, str], home: Path, rounds: int) -> int:
    """Kill the control plane as each phase and step begins; count rollouts that do not end, or whose steps come twice."""
    boundaries = [(Phase.PENDING, 0), (Phase.WARMING, 0), (Phase.CANARY, 1), (Phase.CANARY, 2), (Phase.PROMOTED, 2)]
    wrong = 0
    for phase, step in boundaries * rounds:
        config = DeploymentConfig(slo_p99_ms=SLO_MS, rollout=STRATEGY)
        revision = client.deployments.deploy(name=NAME, model_version=versions["better"], config=config, force=True).id
        _until(lambda r=revision, p=phase, s=step: (f := _rollout(client, r)) and _reached(f, p, s))
        os.kill(json.loads((home / "server.json").read_text())["control_pid"], signal.SIGKILL)
        rollout = _ended(client, revision)
        decisions = client.rollouts.get(id=rollout.id).decisions
        path = [decision.weight_percent for decision in decisions]
        fine = rollout.phase is Phase.PROMOTED and path == [0.0, 0.0, *STRATEGY.canary_percents, 100.0]
        wrong += not fine
        if not fine:
            print(f"killed at {phase.value} {step}: {rollout.phase.value} {rollout.reason} {path}")
    print(f"SIGKILL at {len(boundaries)} boundaries, {rounds} times each: {wrong} not resumed, or a step taken twice")
    return wrong


def _reached(rollout: Rollout, phase: Phase, step: int) -> bool:
    order = list(Phase)
    return (order.index(rollout.phase), rollout.step) >= (order.index(phase), step)


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"did not happen within {PATIENCE_SECONDS:g} s")
        time.sleep(0.02)
    return found
