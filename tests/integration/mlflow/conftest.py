"""A control plane of its own, and real MLflow clients in an environment of theirs, built once and kept in build/peers."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks import peers

from control_plane import Server

CLIENT = Path(__file__).parent / "client"
REQUIREMENTS = ("mlflow==3.17.2", "scikit-learn", "xgboost", "lightgbm", "psutil", "pytest")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a running control plane."""
    server = Server(tmp_path_factory.mktemp("mlflow") / "home")
    server.start()
    yield server
    server.end()


@pytest.fixture(scope="session")
def client_python() -> Path:
    """Give the interpreter of an environment with MLflow in it, built the first time."""
    return peers.environment("mlflow-client", *REQUIREMENTS)


@pytest.fixture
def run_client(client_python: Path, server: Server, tmp_path: Path) -> Callable[[str], None]:
    """Run a file of client tests against the server; its failures are ours."""

    def run(name: str) -> None:
        command = [
            str(client_python),
            "-m",
            "pytest",
            "-q",
            "-x",
            "-c",
            os.devnull,
            "--noconftest",
            "-p",
            "no:cacheprovider",
        ]
        environ = {
            **os.environ,
            "MLFLOW_TRACKING_URI": server.url,
            "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "1",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        environ.pop("PYTHONPATH", None)
        done = subprocess.run([*command, str(CLIENT / name)], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]

    return run
