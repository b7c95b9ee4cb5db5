"""tournant in the area `serving`: a home with its models registered, `tournant up` on it, and releases as its users make them.

Compared is the gateway with all its children (the recorder of predictions, workers); the control plane, which no request passes, is
in the figures of the whole.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ports import free_port
from benchmarks.processes import cpu_seconds, own_cpu_seconds, proportional_bytes
from benchmarks.serving_models import REQUIREMENTS, Models
from benchmarks.serving_sides import Side, ask
from tournant.bootstrap.house import open_context
from tournant.config import Settings
from tournant.domain.deployment import DeploymentConfig
from tournant.domain.rollout import Phase, Rollout, RolloutStrategy
from tournant.errors import TournantError
from tournant.sdk.client import Client
from tournant.services.model_files import open_model_folder
from tournant.services.registry import Provenance, register_model

__all__ = ["HELD_CANARY", "HELD_SHADOW", "SLO_MS", "Ours", "first_release", "make_ours"]

SLO_MS = 100.0
PATIENCE_SECONDS = 90.0
NEVER = 10**9
AT_ONCE = RolloutStrategy(shadow=False, canary_percents=(50.0,), minimum_requests=200, warmup_requests=50)
HELD_CANARY = RolloutStrategy(shadow=False, canary_percents=(10.0,), minimum_requests=NEVER, limit_seconds=float(NEVER))
HELD_SHADOW = RolloutStrategy(shadow=True, minimum_requests=NEVER, limit_seconds=float(NEVER))


@dataclass(slots=True, kw_only=True)
class Ours(Side):
    """A running tournant. `versions` are model versions by name: champion, challenger, plain (which runs in a worker)."""

    control_port: int
    home: Path
    versions: dict[str, str] = field(default_factory=dict)

    def register(self, models: Models) -> None:
        """Register the models: two converted ones, and one that is not, in an environment of their own."""
        ctx = open_context(Settings.load(home=self.home), actor="bench")
        environment = ctx.environments.lock(python="", requirements="\n".join(REQUIREMENTS))
        for name, folder, flavor in (
            ("champion", models.champion, "sklearn"),
            ("challenger", models.challenger, "sklearn"),
            ("plain", models.champion, "python"),
        ):
            (folder / "input_example.json").write_text(json.dumps(models.rows))
            model = open_model_folder(folder, flavor=flavor, entry="model.pkl")
            version = register_model(
                ctx,
                model,
                name=f"bench-{flavor}",
                environment=environment,
                provenance=Provenance(),
                predict="predict_proba",
            )
            self.versions[name] = version.id

    def wait_for_control(self) -> None:
        """Wait for its control plane: the gateway answers before."""
        until(lambda: _answers(self.control_port, "/health"))

    def client(self) -> Client:
        """Give a client of its control plane."""
        return Client(f"http://127.0.0.1:{self.control_port}", actor="bench")

    def release(self, deployment: str, version: str, strategy: RolloutStrategy = AT_ONCE) -> str:
        """Deploy a model version, and give its revision."""
        config = DeploymentConfig(slo_p99_ms=SLO_MS, rollout=strategy)
        with self.client() as client:
            wanted = self.versions[version]
            return str(client.deployments.deploy(name=deployment, model_version=wanted, config=config, force=True).id)

    def wait(self, revision: str, *phases: Phase) -> Rollout:
        """Wait until a revision's rollout is in one of some phases; asked seldom, by one client: the cores are the gateway's."""
        with self.client() as client:

            def reached() -> Rollout | None:
                try:
                    found = client.rollouts.list(deployment=revision.partition("/")[0], limit=5)
                except (TournantError, OSError):  # the control plane was killed, and is not back yet
                    return None
                return next((r for r in found if r.revision == revision and r.phase in phases), None)

            return until(reached, each_seconds=0.1)  # type: ignore[no-any-return]

    def abort(self, revision: str, phase: Phase) -> None:
        """End a rollout that is held."""
        rollout = self.wait(revision, phase)
        with self.client() as client:
            client.rollouts.abort(id=rollout.id, reason="measured")
        self.wait(revision, *(found for found in Phase if found.final))

    def pid(self, what: str) -> int:
        """Give the process id of the control plane (`control_pid`) or the first gateway (`gateway_pids`)."""
        found = json.loads((self.home / "server.json").read_text())[what]
        return int(found[0] if isinstance(found, list) else found)

    def front_cpu_seconds(self) -> float:
        """Give the CPU seconds of the gateway process alone."""
        return own_cpu_seconds(self.pid("gateway_pids"))

    def cpu_seconds(self) -> float:
        """Give the CPU seconds of the gateway with its recorder and workers."""
        return cpu_seconds(self.pid("gateway_pids"))

    def whole_cpu_seconds(self) -> float:
        """Give the CPU seconds of all of tournant, the control plane included."""
        return cpu_seconds(self.root)

    def memory_bytes(self) -> int:
        """Give the memory of the gateway with its recorder and workers."""
        return proportional_bytes(self.pid("gateway_pids"))

    def whole_memory_bytes(self) -> int:
        """Give the memory of all of tournant."""
        return proportional_bytes(self.root)

    def kill(self, what: str) -> None:
        """Kill a process as the kernel would."""
        os.kill(self.pid(what), signal.SIGKILL)


def make_ours(models: Models, work: Path) -> Ours:
    """Make a home, register the models, and release the champion, so that the next start serves it."""
    control, port = free_port(), free_port()
    home = work / "home"
    ours = Ours(
        name="tournant",
        command=[
            *(sys.executable, "-m", "tournant", "up", "--home", str(home)),
            *("--port", str(control), "--gateway-port", str(port)),
        ],
        folder=work,
        port=port,
        path="/predict/bench",
        bodies=[json.dumps({"inputs": row}).encode() for row in models.rows],
        score=lambda answer: float(answer["predictions"][0]["score"]),
        control_port=control,
        home=home,
    )
    work.mkdir(parents=True, exist_ok=True)
    ours.register(models)
    return ours


def first_release(ours: Ours, deployment: str, version: str) -> None:
    """Let a running tournant serve a version, as the first of its deployment."""
    ours.wait_for_control()
    ours.wait(ours.release(deployment, version), Phase.PROMOTED)


def _answers(port: int, path: str) -> bool:
    try:
        return ask(port, path)[0] == 200
    except (OSError, ValueError):
        return False


def until(condition: Callable[[], Any], each_seconds: float = 0.02) -> Any:
    """Wait for something, and give it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"did not happen within {PATIENCE_SECONDS:g} s")
        time.sleep(each_seconds)
    return found
