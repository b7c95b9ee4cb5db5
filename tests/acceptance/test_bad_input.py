"""Everything a person or a program can send wrong: each is refused with a message to act on, and the server goes on answering."""

import json
import re

import pytest

PROJECT = """\
project: bad
pipeline:
  first: {run: python first.py, outs: [made.txt]}
  second: {run: python second.py, deps: [made.txt], outs: [other.txt]}
"""


@pytest.fixture(scope="module")
def served(shared, models):
    """Serve `tiny`, and insist at the end that it is still served, by the same processes, with nothing in the logs."""
    shared.cli("deploy", models.write("tiny"), "--example", models.example, "--wait").fine()
    before = shared.record
    yield shared
    assert shared.predict("tiny", inputs={"plane": "N1", "x": 2.0})[0] == 200
    assert shared.record == before
    logs = "".join(path.read_text() for path in (shared.home / "logs").glob("*.log"))
    assert "Traceback" not in logs, logs


def raw(text: str) -> bytes:
    return b'{"inputs": ' + text.encode() + b"}"


FINE = '{"plane": "N1", "x": 2.0}'
BAD_REQUESTS = {
    "a missing column": (raw('{"plane": "N1"}'), 422, "has no column 'x': expected a number"),
    "an extra column": (raw('{"plane": "N1", "x": 1, "y": 2}'), 422, "unknown column 'y'; the model takes plane, x"),
    "text for a number": (raw('{"plane": "N1", "x": "2"}'), 422, "column 'x': expected a number, found the text '2'"),
    "a number for text": (raw('{"plane": 1, "x": 2}'), 422, "column 'plane': expected text, found the number 1"),
    "null": (raw('{"plane": null, "x": 2}'), 422, "expected text, found null"),
    "a list for a value": (raw('{"plane": "N1", "x": [1, 2]}'), 422, "expected a number, found a list of 2"),
    "NaN": (raw('{"plane": "N1", "x": NaN}'), 422, "expected a number, found the number NaN"),
    "infinity": (raw('{"plane": "N1", "x": 1e999}'), 422, "expected a number"),
    "the second row": (raw(f'[{FINE}, {{"plane": "N1"}}]'), 422, "row 1 has no column 'x'"),
    "rows that are lists": (raw('[["N1", 2.0]]'), 422, "row 0 is a list of 2: expected an object of named columns"),
    "no row": (raw("[]"), 422, "inputs has no row"),
    "too many rows": (raw("[" + ",".join([FINE] * 10_001) + "]"), 422, "10001 rows"),
    "no inputs": (b"{}", 422, "the body has no inputs"),
    "something else beside": (b'{"inputs": {}, "options": 1}', 422, "the body has 'options', but takes only"),
    "a list as body": (b"[1]", 422, "the body is a list of 1"),
    "keys that do not match": (b'{"inputs": ' + FINE.encode() + b', "key": ["a", "b"]}', 422, "2 values for 1 rows"),
    "a time that is none": (b'{"inputs": ' + FINE.encode() + b', "event_time": "soon"}', 422, "'soon' is no time"),
    "invalid JSON": (b'{"inputs": {"plane": ', 400, "the body is not JSON"),
    "nothing": (b"", 400, "the body is not JSON"),
    "other bytes": (b'{"inputs": "\xff\xfe"}', 400, "not UTF-8"),
    "10 MB": (b'{"inputs": "' + b"x" * 10_000_000 + b'"}', 413, "send it in parts"),
    "deep nesting": (b"[" * 100_000, 400, "nested too deeply"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_told_what_is_wrong(served, ask, name):
    """The status says whose fault it is; the message names the row, the column, and what was expected and found."""
    body, expected, words = BAD_REQUESTS[name]
    status, answer = ask(f"{served.gateway_url}/predict/tiny", body, method="POST")
    assert (status, words in answer["error"]["message"]) == (expected, True), answer


def test_an_unknown_deployment_or_path_is_told_what_there_is(served, ask):
    """404 with the names there are; another method is 405."""
    status, answer = ask(f"{served.gateway_url}/predict/tinny", {"inputs": {}})
    assert (status, answer["error"]["message"]) == (404, "there is no deployment 'tinny' (there is: tiny)")
    assert ask(f"{served.gateway_url}/predictions", {})[0] == 404
    assert ask(f"{served.gateway_url}/predict/tiny")[0] == 405
    assert ask(f"{served.url}/api/nothing")[0] == 404


BAD_LABELS = {
    "no body": (b"", "deployment"),
    "invalid JSON": (b"{", "not JSON"),
    "a list": (b"[]", "must be a JSON object"),
    "no value": ({"deployment": "tiny", "labels": [{"key": "a"}]}, "value"),
    "text as value": ({"deployment": "tiny", "labels": [{"key": "a", "value": "late"}]}, "value"),
    "neither id nor key": ({"deployment": "tiny", "labels": [{"value": 1}]}, "key"),
    "both id and key": ({"deployment": "tiny", "labels": [{"value": 1, "key": "a", "prediction_id": "b"}]}, "key"),
    "an unknown field": ({"deployment": "tiny", "labels": [{"value": 1, "key": "a", "colour": "b"}]}, "colour"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_told_what_is_wrong(served, ask, name):
    """400 with the field; nothing is kept."""
    body, words = BAD_LABELS[name]
    status, answer = ask(f"{served.url}/api/labels", body, method="POST")
    assert (status, words in str(answer["error"])) == (400, True), answer


def test_labels_of_an_unknown_deployment_are_refused(served, ask):
    """404 with the deployment's name, by API and by command."""
    status, answer = ask(f"{served.url}/api/labels", {"deployment": "tinny", "labels": [{"key": "a", "value": 1}]})
    assert (status, "tinny" in answer["error"]["message"]) == (404, True)
    served.cli("labels", "add", "tinny", 1, "--key", "a").refused("tinny")
    served.cli("labels", "add", "tiny", "late", "--key", "a").refused("late")
    served.cli("labels", "add", "tiny", 1).refused("--id or --key")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bad.onnx", b"this is no model", ["bad.onnx is no ONNX model"]),
        ("empty.onnx", b"", ["empty.onnx"]),
        ("bad.pkl", b"this is no pickle", ["bad.pkl", "--requirements"]),
        ("bad name.onnx", b"x", ["'bad name'", "--name"]),
    ],
)
def test_a_model_file_that_is_none_is_refused(served, tmp_path, name, content, words):
    """The message names the file and what to do; nothing is deployed."""
    (tmp_path / name).write_bytes(content)
    served.cli("deploy", tmp_path / name).refused(*words)
    assert "bad" not in served.cli("deployments", "list").fine().out


@pytest.mark.slow
def test_a_pickle_that_does_not_load_is_refused(served, tmp_path):
    """With requirements its environment is built, and the message says how loading failed there."""
    (tmp_path / "broken.pkl").write_bytes(b"\x80\x04\x95this is no pickle")
    (tmp_path / "needs.txt").write_text("joblib\n")
    done = served.cli("deploy", tmp_path / "broken.pkl", "--requirements", tmp_path / "needs.txt")
    done.refused("broken.pkl", "own environment", "requirements")


BAD_PROJECTS = {
    "an unknown key": (PROJECT + "modle: {name: x, path: y}\n", 5, "modle"),
    "an unknown key in a step": (PROJECT.replace("outs: [made", "out: [made"), 3, "outs"),
    "a cycle": (PROJECT.replace("first.py, ", "first.py, deps: [other.txt], "), 3, "second"),
    "a file that is not there": (PROJECT.replace("outs: [made", "deps: [data/in.csv], outs: [made"), 3, "data/in.csv"),
    "a number for a list": (PROJECT.replace("[other.txt]", "7"), 4, "outs"),
    "text for a section": (PROJECT + "params: 3\n", 5, "params"),
    "a step without a command": (PROJECT.replace("run: python first.py, ", ""), 3, "run"),
    "no YAML": (PROJECT + "params: {a: [1\n", 6, "tournant.yaml"),
    "a key twice": (PROJECT + "project: again\n", 5, "project"),
    "a duration that is none": (PROJECT + "deployments:\n  bad:\n    rollout: {hold: soon}\n", 7, "soon"),
    "weights that fall": (PROJECT + "deployments:\n  bad:\n    rollout: {canary: [50, 10]}\n", 7, "canary"),
    "an unknown metric": (PROJECT + "deployments:\n  bad:\n    monitors: {metric: guess}\n", 7, "guess"),
    "one file made twice": (PROJECT.replace("[other.txt]", "[made.txt]"), 4, "made.txt"),
}


@pytest.mark.parametrize("name", BAD_PROJECTS)
def test_a_bad_project_file_is_told_its_line(shared, tmp_path, name):
    """`tournant run` says `tournant.yaml:LINE` and the key, and runs nothing."""
    text, line, words = BAD_PROJECTS[name]
    (tmp_path / "tournant.yaml").write_text(text)
    done = shared.cli("run", "--home", tmp_path / "home", cwd=tmp_path).refused(words)
    found = re.search(r"tournant\.yaml:(\d+)", done.err)
    assert found, done.err
    assert int(found.group(1)) == line, done.err


def test_no_project_is_told_how_to_start_one(shared, tmp_path):
    """In a folder without a project file, `run` and `deploy` say so; `init` in a project does too."""
    shared.cli("run", cwd=tmp_path).refused("tournant.yaml", "tournant init")
    shared.cli("deploy", cwd=tmp_path).refused("tournant.yaml", "tournant init")
    (tmp_path / "tournant.yaml").write_text(PROJECT)
    shared.cli("init", cwd=tmp_path).refused("exists already", "tournant run")
    shared.cli("run", "third", cwd=tmp_path).refused("third", "first, second")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("runs show 123abc", ["123abc", "tournant runs list"]),
        ("models show nothing", ["nothing", "tournant models list"]),
        ("models show tiny@9", ["no version 9", "the newest is 1"]),
        ("models show tiny@best", ["best", "tournant models alias"]),
        ("models alias tiny good 7", ["no version 7"]),
        ("data log nothing", ["nothing", "tournant data list"]),
        ("rollouts show nothing", ["nothing", "tournant rollouts list"]),
        ("rollouts promote 01a20bfd31d14dbea7cb9b4fce927d01", ["01a20bfd", "tournant rollouts list"]),
        ("rollouts abort tiny", ["ended", "promoted"]),
        ("deployments show nothing", ["nothing", "tournant deployments list"]),
        ("deployments rollback tiny", ["no earlier revision"]),
        ("deployments rollback tiny --to tiny/9", ["tiny/9", "tiny/1"]),
        ("deploy tiny@9", ["tiny@9", "tournant models list"]),
        ("deploy tiny@best", ["no alias 'best'", "tournant models alias"]),
        ("deploy nothing@1", ["nothing"]),
        ("deploy ./absent.onnx", ["absent.onnx"]),
        ("deploy tiny@1 --wait --timeout soon", ["soon"]),
        ("alerts show nothing", ["tournant alerts", "show"]),
        ("retrainings approve nothing", ["nothing"]),
        ("predict nothing", ["nothing", "tournant deployments list"]),
        ("predict tiny {", ["not JSON"]),
        ('predict tiny {"plane":1,"x":2}', ["column 'plane': expected text"]),
        ("predict tiny --batch absent.csv out.csv", ["there is no file absent.csv"]),
        ("run --jobs none", ["none"]),
        ("models list --limit=x", ["--limit"]),
        ("modles list", ["modles"]),
        ("status --home /proc/nowhere", ["/proc/nowhere"]),
        ("status --home /proc/nowhere/else", ["/proc/nowhere", "--home"]),
        ("up --home /proc/nowhere/else", ["/proc/nowhere", "--home"]),
        ("run --database nonsense", ["nonsense", "postgresql://"]),
        ("status --url http://127.0.0.1:1", ["http://127.0.0.1:1", "tournant up"]),
    ],
)
def test_a_wrong_name_in_a_command_is_told_what_there_is(served, command, words):
    """Exit 1 or 2, one message without a traceback, naming what was not found and where to look."""
    served.cli(*command.split(" ")).refused(*words)


def test_an_unwritable_or_unknown_output_is_refused(served, tmp_path):
    """`predict --batch` leaves no half file behind."""
    (tmp_path / "in.csv").write_text("plane,x\nN1,2.0\n")
    served.cli("predict", "tiny", "--batch", tmp_path / "in.csv", tmp_path / "out.xls").refused("out.xls", ".parquet")
    (tmp_path / "short.csv").write_text("plane\nN1\n")
    served.cli("predict", "tiny", "--batch", tmp_path / "short.csv", tmp_path / "out.csv").refused("short.csv", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "short.csv"]


def test_a_page_of_another_site_changes_nothing(served, ask):
    """A request that changes something and comes from another origin, or by another host name, is refused."""
    import urllib.request

    for header in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        request = urllib.request.Request(
            f"{served.url}/api/deployments/tiny/rollback", data=json.dumps({}).encode(), headers=header, method="POST"
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 401
        refused.value.close()
