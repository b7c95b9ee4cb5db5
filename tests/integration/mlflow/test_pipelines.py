"""MLflow's clients inside a step of `tournant run`: they log to the pipeline's run, without a line of code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from control_plane import Server
from tournant.bootstrap.home import ServerRecord, write_server
from tournant.config import Settings
from tournant.sdk.client import Client

STEP = """
import json, os, urllib.request

def ask(path, **values):
    url = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/" + path
    body = json.dumps({"run_id": os.environ["MLFLOW_RUN_ID"], **values}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as answer:
        return json.load(answer)

ask("runs/log-metric", key="auc", value=0.75, timestamp=1, step=3)  # as `mlflow.log_metric` does
ask("runs/update", status="FINISHED", end_time=5)  # ... and `with mlflow.start_run():` at its end
open("made.txt", "w").write("made")
"""
LAST = "import sys, os; assert os.path.exists('made.txt'); sys.exit(int(sys.argv[1]))"


@pytest.fixture
def server(tmp_path: Path):
    """A control plane that others find by its home, as under `tournant up`."""
    server = Server(tmp_path / "home")
    server.start()
    assert server.process
    record = ServerRecord(url=server.url, gateway_url="", pid=server.process.pid)
    write_server(Settings.load(home=tmp_path / "home"), record)
    yield server
    server.end()


@pytest.mark.parametrize("code", [0, 7])
def test_a_client_in_a_step_logs_to_the_pipeline_s_run(server: Server, tmp_path: Path, code: int) -> None:
    """And does not end it: what the pipeline comes to, its own end says."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "step.py").write_text(STEP)
    (project / "last.py").write_text(LAST)
    steps = (
        f"first: {{run: python step.py, outs: [made.txt]}}\n  last: {{run: python last.py {code}, deps: [made.txt]}}"
    )
    (project / "tournant.yaml").write_text(f"project: p\npipeline:\n  {steps}\n")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TOURNANT_", "MLFLOW_"))}
    command = [sys.executable, "-m", "tournant", "run", "--home", str(tmp_path / "home"), "--json"]
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True)
    assert done.returncode == (1 if code else 0), done.stderr
    with Client(server.url) as client:
        (run,) = client.runs.list()
    assert run.metrics == {"auc": 0.75}
    assert run.measured["auc"] == (3, 0.001)
    assert run.status == ("failed" if code else "successful")
    assert run.ended_at > 1e9
    if not code:
        assert json.loads(done.stdout)["run"]["id"] == run.id
