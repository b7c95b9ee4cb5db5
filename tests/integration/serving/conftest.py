"""A control plane made of the standard library, tiny ONNX models, and gateways that follow it."""

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import blake3
import duckdb
import msgspec
import onnx
import pytest
import uvicorn
from onnx import TensorProto, helper

from tournant.bootstrap.gateway import GatewayProcess, server_config
from tournant.config import Settings
from tournant.domain.control import RevisionStatus
from tournant.domain.data import Tree, TreeFile
from tournant.domain.environment import Environment
from tournant.domain.registry import Column, ColumnType, Output, Signature
from tournant.messages.gateway import Delta, GatewayReport, SegmentUpload
from tournant.messages.routing import DeploymentRoute, ModelRoute, RevisionRoute, RoutingTable

SIGNATURE = Signature(
    inputs=(Column(name="plane", type=ColumnType.STRING), Column(name="x", type=ColumnType.NUMBER, nullable=True)),
    output=Output(kind="probability", classes=("0", "1")),
)
EXAMPLE = ({"plane": "N1", "x": 0.5},)


def linear_model(slope: float = 1.0, *, fragile: bool = False) -> bytes:
    """Give an ONNX model whose probability is `slope * x`; a fragile one raises on x of 9 or more."""
    nodes = [
        helper.make_node("Mul", ["x", "slope"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["plain"], axis=1),
    ]
    if fragile:
        nodes += [
            helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["zeros"]),
            helper.make_node("Add", ["plain", "zeros"], ["probabilities"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["plain"], ["probabilities"]))
    nodes.append(helper.make_node("Identity", ["plane"], ["label"]))
    graph = helper.make_graph(
        nodes,
        "linear",
        [
            helper.make_tensor_value_info("plane", TensorProto.STRING, [None, 1]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1]),
        ],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, [None, 1]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        [
            helper.make_tensor("slope", TensorProto.FLOAT, [1], [slope]),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
            helper.make_tensor("table", TensorProto.FLOAT, [9], [0.0] * 9),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


def wait_until(condition: Callable[[], Any], timeout_seconds: float = 15.0) -> Any:
    """Wait for something to become true, and give it."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"did not happen within {timeout_seconds} s")


class ControlPlane:
    """What a gateway needs of a control plane: routes by long poll, content by digest, reports and segments."""

    def __init__(self) -> None:
        self.table = RoutingTable(version=0)
        self.blobs: dict[str, bytes] = {}
        self.trees: dict[str, Tree] = {}
        self.reports: list[GatewayReport] = []
        self.segments: list[SegmentUpload] = []
        self.applied: dict[str, int] = {}
        self.deltas: list[Delta] = []
        self.fail_next_reports = 0
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        plane = self

        class Handler(_Handler):
            control = plane

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        with self._changed:
            self._changed.notify_all()
        if server:
            server.shutdown()
            server.server_close()

    @property
    def down(self) -> bool:
        return self._server is None

    def put(self, content: bytes) -> str:
        digest = blake3.blake3(content).hexdigest()
        self.blobs[digest] = content
        return digest

    def put_tree(self, files: dict[str, bytes]) -> str:
        stored = {name: TreeFile(digest=self.put(content), size_bytes=len(content)) for name, content in files.items()}
        tree = Tree(files=stored)
        digest = self.put(msgspec.json.encode(tree))
        self.trees[digest] = tree
        return digest

    def route(self, *deployments: DeploymentRoute, now: float | None = None) -> int:
        """Publish a new routing table."""
        with self._changed:
            self.table = RoutingTable(
                version=self.table.version + 1, barrier=self.table.barrier, now=now, deployments=deployments
            )
            self._changed.notify_all()
        return self.table.version

    def barrier(self, now: float) -> None:
        """Raise the barrier and wait until a gateway acknowledges it."""
        with self._changed:
            self.table = msgspec.structs.replace(self.table, barrier=self.table.barrier + 1, now=now)
            self._changed.notify_all()
        wait_until(lambda: self.reports and self.reports[-1].barrier >= self.table.barrier)

    def wait_applied(self, version: int | None = None) -> None:
        version = self.table.version if version is None else version
        wait_until(lambda: self.reports and self.reports[-1].routes_version >= version)

    def status(self, revision: str) -> RevisionStatus | None:
        found = [s for s in (self.reports[-1].statuses if self.reports else ()) if s.revision == revision]
        return found[0] if found else None

    def rows(self) -> list[dict[str, Any]]:
        """Give every registered prediction, in the order of registration."""
        rows: list[dict[str, Any]] = []
        for segment in self.segments:
            path = Path(self._folder) / f"{segment.digest}.parquet"
            path.write_bytes(self.blobs[segment.digest])
            cursor = duckdb.connect().execute("select * from read_parquet(?)", [str(path)])
            names = [column[0] for column in cursor.description]
            rows += [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return rows

    def keep_in(self, folder: Path) -> None:
        self._folder = folder

    def total(self, revision: str, role: str, name: str) -> float:
        return sum(getattr(d, name) for d in self.deltas if (d.revision, d.role) == (revision, role))

    def routes_after(self, version: int, barrier: int, wait: float) -> RoutingTable | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self.down or (self.table.version, self.table.barrier) != (version, barrier), wait
            )
            return self.table if (self.table.version, self.table.barrier) != (version, barrier) else None

    def take_report(self, report: GatewayReport) -> int:
        applied = self.applied.get(report.gateway, 0)
        if report.sequence > applied:
            self.deltas += report.deltas
            self.applied[report.gateway] = report.sequence
        self.reports.append(report)
        return self.applied.get(report.gateway, 0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    control: ControlPlane

    def log_message(self, *_args: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(30)

    def answer(self, status: int, body: bytes = b"") -> None:
        if self.control.down:  # a dead control plane says nothing, not even on connections it had
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if url.path == "/api/gateway/routes":
            asked = dict(urllib.parse.parse_qsl(url.query))
            table = self.control.routes_after(int(asked["version"]), int(asked["barrier"]), float(asked["wait"]))
            self.answer(200, msgspec.json.encode(table)) if table else self.answer(204)
        elif parts[-1] == "tree" and parts[2] in self.control.trees:
            self.answer(200, msgspec.json.encode(self.control.trees[parts[2]]))
        elif parts[-1] in self.control.blobs:
            self.answer(200, self.control.blobs[parts[-1]])
        else:
            self.answer(404)

    def do_PUT(self) -> None:
        content = self.body()
        assert self.control.put(content) == self.path.rsplit("/", 1)[1]
        self.answer(200)

    def do_POST(self) -> None:
        body = self.body()
        if self.control.down:
            self.close_connection = True
        elif self.path.endswith("/segments"):
            self.control.segments.append(msgspec.json.decode(body, type=SegmentUpload))
            self.answer(200, b"{}")
        else:
            sequence = self.control.take_report(msgspec.json.decode(body, type=GatewayReport))
            if self.control.fail_next_reports > 0:  # counted, but the answer is lost
                self.control.fail_next_reports -= 1
                self.answer(500)
            else:
                self.answer(200, msgspec.json.encode({"sequence": sequence}))


class PlatformPython:
    """Builds no environment: every model runs on this interpreter."""

    def lock(self, *, python: str, requirements: str) -> Environment:
        raise NotImplementedError

    def build(self, environment: Environment) -> Path:
        return Path(sys.executable)

    def interpreters(self) -> dict[str, Path]:
        return {}


@dataclass
class RunningGateway:
    """A gateway in a thread of this process."""

    home: Path
    control_url: str
    environments: Any = field(default_factory=PlatformPython)
    settings: dict[str, Any] = field(default_factory=dict)
    port: int = 0
    _server: Any = None
    _thread: Any = None
    process: Any = field(default=None)

    def start(self) -> "RunningGateway":
        settings = Settings(home=self.home, environ=dict(os.environ), **self.settings)
        self.process = GatewayProcess(settings, self.control_url, "http://127.0.0.1:1", self.environments)
        config = server_config(self.process.app)
        config.host, config.port = "127.0.0.1", 0
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def stop(self) -> None:
        if self._thread:
            self._server.should_exit = True
            self._thread.join(15)
            assert not self._thread.is_alive()
            self._thread = None

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def predict(
        self, deployment: str = "flights", headers: dict[str, str] | None = None, **body: Any
    ) -> tuple[int, Any]:
        return self.call("POST", f"/predict/{deployment}", json.dumps(body).encode(), **(headers or {}))

    def health(self) -> int:
        return self.call("GET", "/health")[0]


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlPlane]:
    plane = ControlPlane()
    plane.keep_in(tmp_path)
    yield plane
    plane.stop()


@pytest.fixture
def gateway(control: ControlPlane, tmp_path: Path) -> Iterator[RunningGateway]:
    running = RunningGateway(tmp_path / "home", control.url).start()
    yield running
    running.stop()


@pytest.fixture
def run(control: ControlPlane, tmp_path: Path) -> Iterator[Callable[..., RunningGateway]]:
    """Run a gateway with environments or settings of one's own."""
    running: list[RunningGateway] = []

    def start(environments: Any = None, **settings: Any) -> RunningGateway:
        home = tmp_path / "home"
        running.append(RunningGateway(home, control.url, environments or PlatformPython(), settings).start())
        return running[-1]

    yield start
    for gateway in running:
        gateway.stop()


@pytest.fixture
def converted(control: ControlPlane) -> Callable[..., RevisionRoute]:
    """Make a revision of a converted model."""

    def make(number: int, slope: float = 1.0, *, fragile: bool = False) -> RevisionRoute:
        digest = control.put(linear_model(slope, fragile=fragile))
        model = ModelRoute(version=f"flights@{number}", onnx=digest)
        return RevisionRoute(id=f"flights/{number}", model=model, signature=SIGNATURE, example=EXAMPLE)

    return make


@pytest.fixture
def worked(control: ControlPlane) -> Callable[..., RevisionRoute]:
    """Make a revision of a plain Python class that runs in a worker; `source` is the class body's predict_proba."""

    def make(number: int, source: str) -> RevisionRoute:
        tree = control.put_tree({"model.py": source.encode()})
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        model = ModelRoute(
            version=f"flights@{number}",
            tree=tree,
            entry="model.py",
            predict="predict_proba",
            environment=control.put(b"no requirements"),
            python=python,
        )
        return RevisionRoute(id=f"flights/{number}", model=model, signature=SIGNATURE, example=EXAMPLE)

    return make


@pytest.fixture
def deployment() -> Callable[..., DeploymentRoute]:
    """Make a deployment's route with sensible settings."""

    def make(*revisions: RevisionRoute, **more: Any) -> DeploymentRoute:
        settings = {"stable": revisions[0].id, "slo_p99_ms": 100.0, "entity": "plane", **more}
        return DeploymentRoute(name="flights", revisions=revisions, **settings)

    return make


@pytest.fixture
def wait() -> Callable[..., Any]:
    """Wait for a condition."""
    return wait_until
