"""Imports from a tracking server: tournant's own, which speaks MLflow's REST, and stores that MLflow itself has made."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.integration.mlflow.conftest import Server

from mlflow_checks import check_models, check_runs, content, points
from mlflow_stores import FILES, FINISHED, LOSSES, RUNNING, StoredRun, write_mlruns, write_run
from tournant.adapters.mlflow.rest_client import RestClient
from tournant.bootstrap.house import open_context
from tournant.bootstrap.mlflow import open_mlflow_source
from tournant.config import Settings
from tournant.errors import Denied, Invalid, Unavailable
from tournant.services.context import Context
from tournant.services.mlflow_import import import_mlflow
from tournant.services.mlflow_import_report import MlflowImport
from tournant.services.tracking import get_run

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
