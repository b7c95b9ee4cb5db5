"""Scripts that log: nothing they say is lost, however they end and whether or not the server is there."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from control_plane import Server
from tournant.api.table import OPERATIONS
from tournant.sdk.client import Client
from tournant.sdk.recording.destination import PATHS

Script = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    """Start a script in a process of its own, which logs to a home, or to a server by its URL."""
    begun: list[subprocess.Popen[str]] = []

    def start(source: str, url: str = "") -> subprocess.Popen[str]:
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TOURNANT_")},
            "TOURNANT_HOME": str(tmp_path / "home"),
            "TOURNANT_JOURNAL": str(tmp_path / "journal"),
            **({"TOURNANT_URL": url} if url else {}),
        }
        text = "import tournant\n" + textwrap.dedent(source)
        process = subprocess.Popen(
            [sys.executable, "-c", text], env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for a script; give what it printed."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return out + err


@pytest.fixture
def home(tmp_path: Path) -> Client:
    return Client(home=tmp_path / "home")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that does not run yet."""
    server = Server(tmp_path / "server")
    yield server
    if server.process and server.process.poll() is None:
        server.end()


def waiting(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "journal").glob("*.journal"))


def test_what_a_script_logs_is_there_when_it_has_ended(script: Script, home: Client, tmp_path: Path) -> None:
    """Thousands of points, each; params, tags, artifacts; a nested run names its parent."""
    ended(
        script(
            """
            import math
            tournant.set_experiment("lab")
            with tournant.start_run(run_name="outer", tags={"team": "risk"}) as run:
                tournant.log_params({"depth": 3, "rate": 0.1})
                assert tournant.log_param("depth", 3) == 3
                for step in range(5000):
                    tournant.log_metric("loss", 1 / (step + 1), step=step)
                tournant.log_metrics({"nan": math.nan, "inf": -math.inf}, step=7)
                tournant.log_text("a,b", "tables/x.csv")
                tournant.log_dict({"a": 1}, "note.json")
                with tournant.start_run(run_name="inner", nested=True) as inner:
                    tournant.log_metric("auc", 0.5)
                assert tournant.active_run() is run
            assert tournant.active_run() is None
            tournant.log_metric("alone", 1)  # starts a run of its own, which ends with the script
            """
        )
    )
    runs = {run.name: run for run in home.runs.list(experiment="lab")}
    outer = runs.pop("outer")
    assert (outer.status, outer.params, outer.tags["team"]) == ("successful", {"depth": "3", "rate": "0.1"}, "risk")
    assert len(home.runs.metric(id=outer.id, key="loss")) == 5000
    assert (str(outer.metrics["nan"]), outer.metrics["inf"], outer.measured["inf"][0]) == ("nan", float("-inf"), 7)
    inner = runs.pop("inner")
    assert (inner.status, inner.tags["mlflow.parentRunId"]) == ("successful", outer.id)
    (alone,) = runs.values()
    assert (alone.status, alone.metrics) == ("successful", {"alone": 1.0})
    from tournant.services.artifacts import artifact_path, find_artifacts

    found = find_artifacts(home.transport.context, artifact_path(outer.artifact_location))
    assert sorted(artifact.path.partition("artifacts/")[2] for artifact in found) == ["note.json", "tables/x.csv"]
    assert waiting(tmp_path) == []


def test_a_script_that_raises_has_failed(script: Script, home: Client) -> None:
    """Inside a `with` block or not; what it had logged is there, and why it failed."""
    ended(script("with tournant.start_run():\n    tournant.log_metric('x', 1)\n    raise ValueError('no rows')"), 1)
    ended(script("tournant.start_run()\ntournant.log_metric('x', 2)\nraise ValueError('no columns')"), 1)
    runs = home.runs.list()
    assert {(run.status.value, run.error) for run in runs} == {
        ("failed", "ValueError: no rows"),
        ("failed", "ValueError: no columns"),
    }
    assert sorted(run.metrics["x"] for run in runs) == [1.0, 2.0]


def test_a_script_told_to_end_says_all_it_knows(script: Script, home: Client) -> None:
    """SIGTERM: every point that was logged before is there, and the run was cancelled."""
    process = script(
        """
        tournant.start_run()
        for step in range(10**9):
            tournant.log_metric("loss", step, step=step)
            if step == 2000:
                print("going", flush=True)
            print(step, flush=True) if step > 2000 else None
        """
    )
    assert process.stdout
    assert process.stdout.readline() == "going\n"
    time.sleep(0.3)
    process.terminate()
    said = process.communicate(timeout=60)[0].split()
    assert process.returncode == -signal.SIGTERM
    (run,) = home.runs.list()
    assert run.status == "cancelled"
    assert run.metrics["loss"] >= int(said[-1])
    assert len(home.runs.metric(id=run.id, key="loss")) == run.metrics["loss"] + 1


def test_a_server_that_is_down_is_waited_for_on_disk(script: Script, server: Server, tmp_path: Path) -> None:
    """The script runs to its end; what it logged is sent later, with the times it had."""
    said = ended(
        script(
            """
            with tournant.start_run(run_name="offline"):
                tournant.log_param("depth", 3)
                for step in range(100):
                    tournant.log_metric("loss", step, step=step)
                tournant.log_text("kept", "note.txt")
            """,
            server.url,
        )
    )
    assert "does not answer" in said
    assert "tournant runs send" in said
    (journal,) = waiting(tmp_path)
    finished = time.time()
    server.start()
    environ = {**os.environ, "TOURNANT_JOURNAL": str(tmp_path / "journal")}
    command = [sys.executable, "-m", "tournant", "runs", "send", "--json"]
    done = json.loads(subprocess.check_output(command, env=environ))
    assert (list(done["sent"]), done["waiting"]) == ([str(journal)], {})
    with Client(server.url) as client:
        (run,) = client.runs.list()
        assert (run.name, run.status, run.params, run.metrics) == (
            "offline",
            "successful",
            {"depth": "3"},
            {"loss": 99.0},
        )
        assert run.started_at <= run.ended_at < finished
        assert len(client.runs.metric(id=run.id, key="loss")) == 100
    assert waiting(tmp_path) == []
    assert list((tmp_path / "journal" / "files").iterdir()) == []


def test_a_server_that_comes_back_is_sent_all(script: Script, server: Server, tmp_path: Path) -> None:
    """The script notices nothing; what it logged meanwhile was on disk."""
    server.start()
    reader, writer = os.pipe()
    source = """
        import os
        with tournant.start_run(run_name="through"):
            for step in range(20):
                tournant.log_metric("loss", step, step=step)
                if step in (5, 10):
                    print(step, flush=True)
                    os.read({reader}, 1)
            print(tournant.flush(60), flush=True)
    """
    environ = {**os.environ, "TOURNANT_URL": server.url, "TOURNANT_JOURNAL": str(tmp_path / "journal")}
    text = "import tournant\n" + textwrap.dedent(source.format(reader=reader))
    with subprocess.Popen(
        [sys.executable, "-c", text], env=environ, text=True, stdout=subprocess.PIPE, pass_fds=(reader,)
    ) as going:
        assert going.stdout
        assert going.stdout.readline() == "5\n"
        server.end(signal.SIGKILL)
        os.write(writer, b".")
        assert going.stdout.readline() == "10\n"
        server.start()
        os.write(writer, b".")
        assert going.stdout.readline() == "True\n"
    os.close(reader)
    os.close(writer)
    with Client(server.url) as client:
        (run,) = client.runs.list()
        assert (run.status, len(client.runs.metric(id=run.id, key="loss"))) == ("successful", 20)


def test_what_a_killed_script_left_is_sent_by_the_next(script: Script, server: Server, tmp_path: Path) -> None:
    """After a kill -9 without a server there is a journal; it belongs to whoever logs to that server next."""
    process = script(
        """
        import time
        tournant.start_run(run_name="killed")
        tournant.log_metric("x", 1)
        time.sleep(1)
        print("now", flush=True)
        time.sleep(60)
        """,
        server.url,
    )
    assert process.stdout
    assert process.stdout.readline() == "now\n"
    process.kill()
    process.wait()
    assert len(waiting(tmp_path)) == 1
    server.start()
    ended(
        script(
            "with tournant.start_run(run_name='next'):\n    tournant.log_metric('x', 2)\n    tournant.flush()",
            server.url,
        )
    )
    deadline = time.monotonic() + 30
    with Client(server.url) as client:
        while len(runs := {run.name: run for run in client.runs.list()}) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert {name: run.metrics for name, run in runs.items()} == {"killed": {"x": 1.0}, "next": {"x": 2.0}}
    assert waiting(tmp_path) == []


def test_what_is_refused_holds_up_nothing(script: Script, home: Client, tmp_path: Path) -> None:
    """A key that is none is told where the run ends, and is kept; its neighbours are there."""
    said = ended(
        script(
            """
            try:
                with tournant.start_run():
                    tournant.log_metric("good", 1)
                    tournant.log_metric("bad\\x00key", 1)
                    tournant.log_metric("fine", 2)
            except ValueError as exc:
                raise
            except Exception as exc:
                print("told:", exc.message)
            """
        )
    )
    assert "told: " in said
    (run,) = home.runs.list()
    assert (run.status, run.metrics) == ("successful", {"good": 1.0, "fine": 2.0})
    (line,) = (tmp_path / "journal" / "refused.ndjson").read_text().splitlines()
    assert json.loads(line)["call"]["values"]["metrics"][0]["key"] == "bad\x00key"


def test_params_do_not_change_and_runs_do_not_pile_up(script: Script) -> None:
    """Both are errors where they happen, as with MLflow."""
    said = ended(
        script(
            """
            from tournant.errors import TournantError
            with tournant.start_run():
                tournant.log_param("depth", 3)
                for wrong in (lambda: tournant.log_param("depth", 4), tournant.start_run, lambda: tournant.end_run("DONE"),
                              lambda: tournant.log_artifact("none.txt"), lambda: tournant.log_metric(7, 1)):
                    try:
                        wrong()
                    except TournantError as exc:
                        print(exc.message)
            """
        )
    )
    lines = said.splitlines()
    assert [
        any(word in line for line in lines)
        for word in ("is '3' already", "nested=True", "FINISHED", "none.txt", "not 7")
    ] == [True] * 5, said


def test_a_child_process_logs_to_the_same_run(script: Script, home: Client) -> None:
    """By a recorder of its own; the run is ended by who began it."""
    ended(
        script(
            """
            import multiprocessing
            def work(number):
                tournant.log_metric(f"worker_{number}", number)
            with tournant.start_run():
                tournant.log_metric("before", 1)
                processes = [multiprocessing.get_context("fork").Process(target=work, args=(n,)) for n in range(3)]
                [p.start() for p in processes]
                [p.join() for p in processes]
                assert [p.exitcode for p in processes] == [0, 0, 0]
                tournant.log_metric("after", 1)
            """
        )
    )
    (run,) = home.runs.list()
    assert (run.status.value, set(run.metrics)) == (
        "successful",
        {"before", "after", "worker_0", "worker_1", "worker_2"},
    )


def test_threads_log_to_the_process_s_run(script: Script, home: Client) -> None:
    """A thread without a run of its own; one with its own keeps to it."""
    ended(
        script(
            """
            import threading
            def shares(): tournant.log_metric("shared", 1)
            def own():
                with tournant.start_run(run_name="own", nested=True): tournant.log_metric("own", 1)
            with tournant.start_run(run_name="main"):
                threads = [threading.Thread(target=target) for target in (shares, own)]
                [t.start() for t in threads]
                [t.join() for t in threads]
            """
        )
    )
    assert {run.name: set(run.metrics) for run in home.runs.list()} == {"main": {"shared"}, "own": {"own"}}


def test_a_script_s_operations_are_those_of_the_table() -> None:
    """They are written down twice, because the table costs a script half a second."""
    table = {operation.name: (operation.method, operation.path) for operation in OPERATIONS}
    assert {name: table[name] for name in PATHS} == dict(PATHS)


def test_logging_is_light_to_import() -> None:
    """Neither httpx nor SQLAlchemy, numpy, DuckDB or the services."""
    code = (
        "import sys, tournant; tournant.log_metric; "
        "print(sorted({'httpx', 'sqlalchemy', 'numpy', 'duckdb', 'scipy', 'onnxruntime', 'tournant.services'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_a_model_is_stored_as_mlflow_stores_one(script: Script, home: Client, tmp_path: Path) -> None:
    """Its folder says what it is and what it needs; registered, it is the model's next version."""
    (tmp_path / "scoring.py").write_text(
        "class Model:\n    def predict(self, rows):\n        return [1.0 for _ in rows]\n"
    )
    ended(
        script(
            f"""
            import sys; sys.path.insert(0, {str(tmp_path)!r})
            from scoring import Model
            from tournant.errors import Invalid
            rows = [{{"x": 1.5, "carrier": "UA"}}]
            with tournant.start_run():
                try:
                    tournant.log_model(Model(), "scorer")
                except Invalid as exc:
                    assert "pip_requirements=" in exc.message, exc.message
                address = tournant.log_model(
                    Model(), "scorer", input_example=rows, registered_model_name="scoring", pip_requirements=["numpy"])
                assert address == f"runs:/{{tournant.active_run().id}}/scorer"
            """
        )
    )
    (run,) = home.runs.list()
    (standing,) = home.models.versions(name="scoring")
    assert (standing.version.id, standing.version.run) == ("scoring@1", run.id)
    from tournant.services.artifacts import artifact_path, find_artifacts, write_artifacts

    context = home.transport.context
    base = artifact_path(standing.version.artifact_location)
    write_artifacts(context, find_artifacts(context, base), base, tmp_path / "stored")
    described = yaml.safe_load((tmp_path / "stored" / "MLmodel").read_text())
    assert described["flavors"]["tournant"]["entry"] == "model.pkl"
    assert (tmp_path / "stored" / "requirements.txt").read_text() == "numpy\n"
    assert json.loads((tmp_path / "stored" / "input_example.json").read_text()) == [{"x": 1.5, "carrier": "UA"}]
    assert described["saved_input_example_info"]["type"] == "dataframe"


def test_a_damaged_journal_holds_up_nothing(script: Script, home: Client, tmp_path: Path) -> None:
    """Neither its neighbours nor whoever logs next; it stays where it is, and is named."""
    folder = tmp_path / "journal"
    folder.mkdir()
    header = json.dumps({"address": str(tmp_path / "home")}).encode() + b"\n"
    call = json.dumps({"name": "runs.create", "values": {"id": "a" * 32, "name": "left"}}).encode() + b"\n"
    (folder / "1-a.journal").write_bytes(header + b"{no json\n" + call)
    (folder / "2-b.journal").write_bytes(b"of another kind\n")
    (folder / "3-c.journal").write_bytes(header + call)
    (folder / "4-d.journal").write_bytes(b'{"addr')
    said = ended(
        script(
            "import time\nwith tournant.start_run(run_name='next'):\n    tournant.log_metric('x', 1)\n    time.sleep(5)"
        )
    )
    assert "1-a.journal cannot be read" in said
    deadline = time.monotonic() + 30
    while {run.name for run in home.runs.list()} != {"left", "next"}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [path.name for path in waiting(tmp_path)] == ["1-a.journal", "2-b.journal"]
    environ = {**os.environ, "TOURNANT_JOURNAL": str(folder)}
    done = json.loads(
        subprocess.check_output([sys.executable, "-m", "tournant", "runs", "send", "--json"], env=environ)
    )
    assert done["sent"] == {}
    assert "cannot be read behind byte" in done["waiting"][str(folder / "1-a.journal")]
    assert "first line" in done["waiting"][str(folder / "2-b.journal")]


def test_a_fork_waits_for_the_call_that_is_under_way(script: Script) -> None:
    """SQLite's locks are kept in memory: a child of a process that writes would find its own copy locked for ever."""
    ended(
        script(
            """
            import os, threading
            from tournant.api.table import OPERATIONS
            (create,) = [found for found in OPERATIONS if found.name == "runs.create"]
            begun, done = threading.Event(), threading.Event()
            def slowly(*given, handler=create.handler):
                begun.set()
                done.wait(0.3)
                answer = handler(*given)
                done.set()
                return answer
            object.__setattr__(create, "handler", slowly)
            thread = threading.Thread(target=tournant.start_run)
            thread.start()
            begun.wait()
            child = os.fork()
            if not child:
                os._exit(0 if done.is_set() else 9)
            assert os.waitpid(child, 0)[1] == 0
            thread.join()
            """
        )
    )
