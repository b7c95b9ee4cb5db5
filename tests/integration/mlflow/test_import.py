"""Imports from a tracking server: tournant's own, which speaks MLflow's REST, and stores that MLflow itself has made."""

import hashlib
import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.integration.mlflow.conftest import CLIENT, Server

from mlflow_checks import check_models, check_runs, content, points
from mlflow_stores import FILES, FINISHED, LOSSES, RUNNING, StoredRun, write_mlruns, write_run
from tournant.adapters.mlflow.rest_client import RestClient
from tournant.bootstrap.house import open_context
from tournant.bootstrap.mlflow import open_mlflow_source
from tournant.config import Settings
from tournant.domain.registry import ModelAlias
from tournant.domain.run_query import STATUS_NAMES
from tournant.errors import Denied, Invalid, Unavailable
from tournant.services.context import Context
from tournant.services.experiments import list_experiments
from tournant.services.mlflow_import import import_mlflow
from tournant.services.mlflow_import_report import MlflowImport
from tournant.services.run_inputs import read_run_inputs
from tournant.services.tracking import get_run
from tournant.services.versions import find_version

Bring = Callable[..., MlflowImport]


@pytest.fixture
def other(tmp_path: Path) -> Context:
    """Give another house, to import into."""
    return open_context(Settings.load(home=tmp_path / "other"), actor="tester")


def bring(context: Context, address: object, **options: Any) -> MlflowImport:
    """Import from an address."""
    with open_mlflow_source(context.settings, str(address)) as source:
        return import_mlflow(context, source, **options)


@pytest.fixture
def running(context: Context, tmp_path: Path) -> Iterator[Server]:
    """Give a server of a house that has imported the store."""
    bring(context, write_mlruns(tmp_path / "project" / "mlruns"))
    server = Server(context.settings.home)
    server.start()
    yield server
    server.end()


def test_a_server_gives_everything_once(
    running: Server, context: Context, other: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, it goes on; asked again, nothing comes twice; what is new comes."""
    monkeypatch.setattr("tournant.adapters.mlflow.rest._RUNS", 1)
    monkeypatch.setattr("tournant.adapters.mlflow.rest._POINTS", 5)

    def stop(report: MlflowImport) -> None:
        if report.files == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(other, running.url, progress=stop)
    report = bring(other, running.url)
    assert report.runs + report.unchanged >= 4
    assert [(left.noun, left.name) for left in report.left] == [("artifacts", "model version churn@4")]
    check_runs(other, deletion_times=False)
    check_models(other)
    again = bring(other, running.url)
    assert (again.runs, again.points, again.files, again.versions, again.unchanged) == (0, 0, 0, 0, 8)
    mlruns = tmp_path / "project" / "mlruns"
    write_run(mlruns, StoredRun(RUNNING, "busy-bee", "FINISHED", metrics={"loss": LOSSES}, files={"late": b"x"}))
    bring(context, mlruns)  # while its server runs
    news = bring(other, running.url)
    assert (news.runs, news.points, news.files) == (1, len(LOSSES) - 2, 1)
    assert len(points(other, RUNNING, "loss")) == len(LOSSES)
    assert content(other, get_run(other, FINISHED).artifact_location) == FILES


class Stubborn(http.server.BaseHTTPRequestHandler):
    """A server that answers what a test says, in turn, and counts."""

    answers: ClassVar[list[tuple[int, bytes]]] = []
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        status, content = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 # the base class names it

    def log_message(self, *_: object) -> None:
        """Do not talk."""


@contextmanager
def stubborn(*answers: tuple[int, bytes]) -> Iterator[str]:
    """Give the address of a server that answers so."""
    Stubborn.answers, Stubborn.asked = list(answers), []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stubborn) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "answer", "kind", "words"),
    [
        (401, b"{}", Denied, "MLFLOW_TRACKING_TOKEN"),
        (404, b"<html>", Invalid, "is no tracking server"),
        (200, b"<html>", Invalid, "does not answer as MLflow's servers do"),
        (200, b"[]", Invalid, "does not answer as MLflow's servers do"),
        (500, b"oh", Unavailable, "HTTP status 500"),
        (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}', Invalid, "refuses"),
    ],
)
def test_a_server_that_is_none_is_refused(
    other: Context, status: int, answer: bytes, kind: type[Exception], words: str
) -> None:
    """With what it said, and what to do."""
    with stubborn((status, answer)) as url, pytest.raises(kind, match=words):
        bring(other, url)


def test_what_passes_is_tried_again_with_credentials(other: Context) -> None:
    """A server that is busy twice; a token, a user, and a user in the address, which is not told again."""
    busy = (503, b"busy")
    with stubborn(busy, busy, (200, b'{"experiments": []}')) as url:
        environ = {"MLFLOW_TRACKING_TOKEN": "secret"}
        with closing(RestClient(url, environ, wait_seconds=0.01)) as client:
            assert client.post("/x", {}) == {"experiments": []}
        assert Stubborn.asked == [("/x", "Bearer secret")] * 3
        user = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "pw"}
        with closing(RestClient(url, user)) as client:
            client.get("/y", {"a": "b"})
        assert Stubborn.asked[-1] == ("/y?a=b", "Basic YWRhOnB3")
        with closing(RestClient(url.replace("http://", "http://ada:pw@"), {})) as client:
            client.get("/z", {})
            assert client.address == url
        assert Stubborn.asked[-1] == ("/z", "Basic YWRhOnB3")


def test_a_server_that_goes_away_ends_the_import(running: Server, other: Context) -> None:
    """With an error that says so; when it is back, the import goes on."""

    def go_away(report: MlflowImport) -> None:
        if report.points and running.process and running.process.poll() is None:
            running.end()

    with pytest.raises(Unavailable, match="does not answer"):
        bring(other, running.url, progress=go_away)
    running.start()
    bring(other, running.url)
    check_runs(other, deletion_times=False)
    check_models(other)


@pytest.fixture(params=["folder", "server"])
def made_by_mlflow(
    request: pytest.FixtureRequest, client_python: Path, tmp_path: Path
) -> Iterator[tuple[list[str], Any]]:
    """Let MLflow make a store; give its addresses (a server's and its database's), and what MLflow's client reads from it."""
    place = tmp_path / "mlflow"
    place.mkdir()
    addresses = [(place / "mlruns").as_uri()]
    with ExitStack() as stack:
        if request.param == "server":
            addresses = [stack.enter_context(mlflow_server(client_python, place)), str(place / "mlflow.db")]
        facts = place / "facts.json"
        environ = {**os.environ, "MLFLOW_TRACKING_URI": addresses[0], "MLFLOW_ALLOW_FILE_STORE": "true"}
        command = [str(client_python), str(CLIENT / "make_store.py"), str(facts)]
        done = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        yield addresses, json.loads(facts.read_text())


@contextmanager
def mlflow_server(python: Path, place: Path) -> Iterator[str]:
    """Run MLflow's server on a database, with the files in `mlartifacts` beside it; it is slow to start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(python), "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db", "--workers", "1"]
    environ = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # eight processes less
    log = (place / "server.log").open("wb")
    process = subprocess.Popen(
        [*command, "--port", str(port)], cwd=place, env=environ, stdout=log, stderr=log, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None, (place / "server.log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        log.close()


@pytest.mark.slow
def test_what_mlflow_made_comes_as_mlflow_reads_it(made_by_mlflow: tuple[list[str], Any], tmp_path: Path) -> None:
    """Every run's params, tags, histories, inputs and files, and the versions' files, from each kind of store."""
    addresses, facts = made_by_mlflow
    for number, address in enumerate(addresses):
        house = open_context(Settings.load(home=tmp_path / f"house{number}"), actor="tester")
        report = bring(house, address)
        assert report.left == []
        assert report.runs == len(facts["runs"]) == 3
        for run_id, fact in facts["runs"].items():
            check_as_mlflow_reads(house, run_id, fact)
        check_registry(house, facts)
        again = bring(house, address)
        assert (again.runs, again.points, again.files, again.versions, again.left) == (0, 0, 0, 0, [])


def check_registry(context: Context, facts: Any) -> None:
    experiments = {each.name: each.deleted_at is not None for each in list_experiments(context)}
    assert experiments == {name: stage == "deleted" for name, stage in facts["experiments"].items()}
    for number, fact in facts["versions"].items():
        version = find_version(context, "mover", number)
        assert version.run == fact["run"]
        assert fact["tags"].items() <= version.tags.items()
        assert digests(context, version.artifact_location) == fact["files"] != {}
    with context.transactions.begin(write=False) as uow:
        aliases = {each.alias: each.version for each in uow.find(ModelAlias, model="mover")}
    assert aliases == {"champion": 2} == {alias: int(number) for alias, number in facts["aliases"].items()}


def check_as_mlflow_reads(context: Context, run_id: str, fact: Any) -> None:
    run = get_run(context, run_id)
    assert (run.name, STATUS_NAMES[run.status], run.deleted_at is not None) == (
        fact["name"],
        fact["status"],
        fact["deleted"],
    )
    assert (round(1000 * run.started_at), round(1000 * (run.ended_at or 0))) == (fact["started"], fact["ended"])
    assert run.params == fact["params"]
    assert {key: value for key, value in run.tags.items() if not key.startswith("tournant.")} == fact["tags"]
    assert sorted(run.metrics) == sorted(fact["histories"])
    for key, history in fact["histories"].items():
        kept = [(step, round(1000 * at), str(value)) for step, at, value in points(context, run_id, key)]
        assert kept == list(dict.fromkeys(map(tuple, history)))  # its file store keeps the same point twice
    datasets, models = read_run_inputs(context, [run_id])
    assert [each.name for each in datasets.get(run_id, [])] == fact["datasets"]
    assert sorted(each.model for each in models.get(run_id, [])) == sorted(fact["outputs"])
    assert digests(context, run.artifact_location) == fact["files"]


def digests(context: Context, location: str) -> dict[str, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in content(context, location).items()}
