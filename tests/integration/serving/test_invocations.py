"""MLflow's scoring protocol and the gateway's OpenAPI."""

import json

import pytest

PATH = "/deployments/flights/invocations"


@pytest.fixture
def served(control, gateway, converted, deployment):
    """A gateway that answers flights with probability x / 2."""
    control.route(deployment(converted(1, 0.5)))
    control.wait_applied()
    return gateway


def invoke(gateway, body, kind="application/json", path=PATH):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.call("POST", path, content, **{"Content-Type": kind})


def test_every_form_gives_the_same(served, control):
    """Split, records, instances, inputs and CSV; by the deployment's path and, there being one, by the bare one."""
    bodies = [
        {"dataframe_split": {"columns": ["x", "plane"], "data": [[0.5, "N1"], [1, "N2"]], "index": [0, 1]}},
        {"dataframe_split": {"data": [["N1", 0.5], ["N2", 1]]}},
        {"dataframe_records": [{"plane": "N1", "x": 0.5}, {"x": 1, "plane": "N2"}]},
        {"instances": [{"plane": "N1", "x": 0.5}, {"plane": "N2", "x": 1}]},
        {"instances": [["N1", 0.5], ["N2", 1]]},
        {"inputs": {"plane": ["N1", "N2"], "x": [0.5, 1]}},
        {"inputs": {"plane": [["N1"], ["N2"]], "x": [[0.5], [1]]}, "params": None},
        {"inputs": [["N1", 0.5], ["N2", 1]]},
    ]
    for path in (PATH, "/invocations"):
        for body in bodies:
            status, answer = invoke(served, body, path=path)
            assert (status, answer["predictions"]) == (200, [0.25, 0.5]), (body, answer)
    status, answer = invoke(served, b'x,plane\r\n0.5,N1\n1,"N2"\n', "text/csv; charset=utf-8")
    assert (status, answer["predictions"], answer["model_version"]) == (200, [0.25, 0.5], "flights@1")
    control.barrier(1.0)
    assert sum(segment.rows for segment in control.segments) == 34


def test_wrong_bodies_are_the_clients_fault(served):
    """Each names what was expected and what was found."""
    cases = [
        (b"{", 400, "not JSON"),
        (b"[1]", 422, "dataframe_split, dataframe_records, instances, inputs: found none"),
        ({}, 422, "found none"),
        ({"instances": [], "inputs": []}, 422, "found instances and inputs"),
        ({"instances": [], "signature": 1}, 422, "'signature'"),
        ({"instances": [["N1", 1]], "params": {"a": 1}}, 422, "'params'"),
        ({"instances": []}, 422, "no row"),
        ({"instances": 1}, 422, "expected a list of rows"),
        ({"instances": [["N1"]]}, 422, "instances[0]: expected a list of 2 values (plane, x), found 1 values"),
        ({"instances": [7]}, 422, "found no list"),
        (
            {"instances": [{"plane": "N1", "x": "a"}]},
            422,
            "row 0, column 'x': expected a number or null, found the text",
        ),
        ({"dataframe_records": {"x": 1}}, 422, "expected a list of objects"),
        ({"dataframe_records": [{"plane": "N1"}]}, 422, "row 0 has no column 'x'"),
        ({"dataframe_records": [{"plane": "N1", "x": 1, "y": 1}]}, 422, "unknown column 'y'"),
        ({"dataframe_split": []}, 422, "expected {columns"),
        ({"dataframe_split": {"columns": ["x", "x"], "data": []}}, 422, "names column 'x' twice"),
        ({"dataframe_split": {"columns": [1], "data": []}}, 422, "expected a list of names"),
        ({"dataframe_split": {"columns": ["x"], "data": [[1, 2]]}}, 422, "expected a list of 1 values (x), found 2"),
        ({"inputs": {"plane": ["N1"], "x": [1, 2]}}, 422, "plane has 1, x has 2"),
        ({"inputs": 1}, 422, "expected an object of columns"),
    ]
    for body, expected, words in cases:
        status, answer = invoke(served, body)
        assert (status, words in answer["error"]["message"]) == (expected, True), (body, answer)
    tables = [
        (b"", 422, "no row"),
        (b"plane,x\n", 422, "no row"),
        (b"plane,x\nN1\n", 422, "row 0: expected 2 cells, found 1"),
        (b"plane,x\nN1,a\n", 422, "column 'x': expected a number or null, found the text 'a'"),
        (b"plane,plane\nN1,a\n", 422, "'plane' twice"),
        (b"plane,x\nN1,inf\n", 422, "expected a number or null, found the text 'inf'"),
        (b"\xff", 400, "not UTF-8"),
        (b'plane,x\n"N1,1', 400, "not CSV"),
    ]
    for body, expected, words in tables:
        status, answer = invoke(served, body, "text/csv")
        assert (status, words in answer["error"]["message"]) == (expected, True), (body, answer)
    assert invoke(served, b"<a/>", "text/xml")[0] == 422
    assert served.call("GET", PATH)[0] == 405
    assert invoke(served, {}, path="/deployments/fraud/invocations")[0] == 404


def test_openapi_has_examples_that_work(served):
    """Every path of the document answers its own example with 200."""
    status, document = served.call("GET", "/deployments/flights/openapi.json")
    assert status == 200
    assert document == served.call("GET", "/openapi.json")[1]
    assert len(document["paths"]) == 3
    for path, operations in document["paths"].items():
        schema = operations["post"]["requestBody"]["content"]["application/json"]["schema"]
        (example,) = schema["examples"]
        status, answer = served.call("POST", path, json.dumps(example).encode())
        assert status == 200, (path, answer)
    row = document["paths"]["/predict/flights"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    row = row["properties"]["inputs"]["oneOf"][0]
    assert row["required"] == ["plane", "x"]
    assert row["properties"]["x"]["type"] == ["number", "null"]
    assert served.call("GET", "/deployments/fraud/openapi.json")[0] == 404
