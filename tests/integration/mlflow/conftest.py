"""A control plane of its own, and real MLflow clients in an environment of theirs, built once and kept in build/peers."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks import peers

CLIENT = Path(__file__).parent / "client"
REQUIREMENTS = ("mlflow==3.17.2", "scikit-learn", "xgboost", "lightgbm", "psutil", "pytest")


class Server:
    """A control plane on a free port, that can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", "tournant.bootstrap.control_plane"]
        self.process = subprocess.Popen([*command, "--home", str(self.home), "--port", str(self.port)])
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    return
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None, "the control plane did not start"
                time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal."""
        assert self.process
        self.process.send_signal(number)
        self.process.wait(30)


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
