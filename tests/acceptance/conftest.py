"""A real tournant in processes of its own, the real command line, and tiny ONNX models to serve."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tournant.sdk.client import Client

from .browsing import assets, browser, furnished, house, site, visitor

__all__ = ["assets", "browser", "furnished", "house", "site", "visitor"]  # fixtures

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("TOURNANT_")}
LOOPBACK = "127.0.0.1"


def until(condition: Callable[[], Any], timeout_seconds: float = 30.0) -> Any:
    """Wait for something to become true, and give it."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {timeout_seconds} s")


def free_port() -> int:
    """Give a port that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_of(home: Path) -> set[int]:
    """Give every running process that was started for a home, by its command line."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(home).encode() in words and alive(int(folder.name)):
                found.add(int(folder.name))
    return found


def call(url: str, body: object = None, *, token: str = "", method: str = "") -> tuple[int, Any]:
    """Ask over HTTP; bytes are sent as they are, anything else as JSON; give the status and the decoded answer."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, data=data, headers=headers, method=method or None)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, content = error.code, error.read()
    try:
        return status, json.loads(content)
    except ValueError:
        return status, content.decode()


class Tournant:
    """`tournant` on one home: its command line, and one `tournant up`."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.port, self.gateway_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.said = folder / "up.txt"

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def gateway_url(self) -> str:
        return f"http://{LOOPBACK}:{self.gateway_port}"

    @property
    def record(self) -> dict[str, Any]:
        """What `server.json` says."""
        return json.loads((self.home / "server.json").read_text())

    def cli(self, *arguments: object, timeout_seconds: float = 60, cwd: Path | None = None) -> "Done":
        """Run a command on the home, in `cwd`."""
        done = subprocess.run(
            [sys.executable, "-m", "tournant", *map(str, arguments)],
            cwd=cwd or self.folder,
            env={**ENVIRON, "TOURNANT_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def up(self, *options: str) -> "Tournant":
        """Start, and return when both ports are healthy."""
        self.launch(*options)
        until(lambda: self.ready() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said.read_text()
        return self

    def launch(self, *options: str) -> None:
        """Start, without waiting."""
        ports = ("--port", str(self.port), "--gateway-port", str(self.gateway_port))
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tournant", "up", "--home", str(self.home), *ports, *options],
                cwd=self.folder,
                env=ENVIRON,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def ready(self) -> bool:
        """Whether both `/health` answer 200."""
        return self.healthy(self.url) and self.healthy(self.gateway_url)

    def healthy(self, url: str) -> bool:
        try:
            return call(url + "/health")[0] == 200
        except OSError:
            return False

    def predict(self, deployment: str, **body: Any) -> tuple[int, Any]:
        return call(f"{self.gateway_url}/predict/{deployment}", body)

    def client(self) -> Client:
        return Client(self.url, actor="tester")

    def stop(self) -> None:
        """End it, and whatever it left."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in processes_of(self.home):
            os.kill(pid, signal.SIGKILL)


class Done:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def fine(self) -> "Done":
        """Insist on exit 0."""
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self

    def refused(self, *words: str) -> "Done":
        """Insist on exit 1 or 2, and on one readable message with these words."""
        assert self.code in (1, 2), f"exit {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err, self.err
        for word in words:
            assert word in self.err, f"{word!r} is not in: {self.err}"
        return self


def tiny_model(slope: float = 0.1, *, bad: str = "") -> bytes:
    """Give an ONNX model whose probability is `slope * x`; from x = 9 on a bad one `raises` or answers `nan`."""
    nodes = [
        helper.make_node("Mul", ["x", "slope"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["plain"], axis=1),
    ]
    table = [0.0] * 9 + ([float("nan")] * 3 if bad == "nan" else [0.0] * 3 if not bad else [])
    nodes += [
        helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["extra"]),
        helper.make_node("Add", ["plain", "extra"], ["probabilities"]),
        helper.make_node("Identity", ["plane"], ["label"]),
    ]
    column = [None, 1]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("plane", TensorProto.STRING, column),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, column),
        ],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, column),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        [
            helper.make_tensor("slope", TensorProto.FLOAT, [1], [slope]),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
            helper.make_tensor("table", TensorProto.FLOAT, [len(table)], table),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


class ModelFiles:
    """Writes tiny models and their example beside each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.example = folder / "example.json"
        self.example.write_text(json.dumps([{"plane": "N1", "x": 1.0}, {"plane": "N2", "x": 2.0}]))

    def write(self, name: str, slope: float = 0.1, *, bad: str = "") -> Path:
        path = self.folder / f"{name}.onnx"
        path.write_bytes(tiny_model(slope, bad=bad))
        return path


@pytest.fixture(scope="session")
def start() -> Callable[[Path], Tournant]:
    """Prepare a tournant in a folder; who asks for it stops it."""
    return lambda folder: Tournant(folder / "home", folder)


@pytest.fixture
def tournant(tmp_path: Path, start: Callable[[Path], Tournant]) -> Iterator[Tournant]:
    """Give a tournant on an empty home that is not started yet; whatever it starts is stopped."""
    given = start(tmp_path)
    yield given
    given.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, start: Callable[[Path], Tournant]) -> Iterator[Tournant]:
    """Give one running tournant that a module's tests share."""
    given = start(tmp_path_factory.mktemp("shared"))
    try:
        yield given.up()
    finally:
        given.stop()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """Write model files."""
    return ModelFiles(tmp_path_factory.mktemp("models"))


@pytest.fixture
def wait() -> Callable[..., Any]:
    """Wait for a condition."""
    return until


@pytest.fixture
def ask() -> Callable[..., tuple[int, Any]]:
    """Ask over HTTP."""
    return call


@pytest.fixture
def running() -> Callable[[int], bool]:
    """Tell whether a process runs."""
    return alive


@pytest.fixture
def processes() -> Callable[[Path], set[int]]:
    """Give the processes of a home."""
    return processes_of
