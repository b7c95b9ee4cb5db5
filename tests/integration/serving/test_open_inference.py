"""The Open Inference Protocol over REST, asked by the real client and by wrong requests of every kind."""

import asyncio
import gzip
import json

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio

# The client's destructors raise: the asyncio one inherits the other's, which closes what it does not have.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def served(control, gateway, converted, deployment):
    """A gateway that answers flights with probability x / 2."""
    control.route(deployment(converted(1, 0.5)))
    control.wait_applied()
    return gateway


def tensors(planes, xs, *, binary, client=triton):
    plane = client.InferInput("plane", [len(planes), 1], "BYTES")
    plane.set_data_from_numpy(np.array([[p] for p in planes], dtype=object), binary_data=binary)
    x = client.InferInput("x", [len(xs), 1], "FP32")
    x.set_data_from_numpy(np.array([[v] for v in xs], dtype=np.float32), binary_data=binary)
    return [plane, x]


def test_client_sees_server_and_model(served):
    """Metadata, health and versions are what the client asks for."""
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("flights")
        assert client.is_model_ready("flights", "1")
        assert not client.is_model_ready("flights", "2")
        assert not client.is_model_ready("fraud")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        model = client.get_model_metadata("flights")
    assert (model["name"], model["versions"], model["platform"]) == ("flights", ["1"], "tournant")
    assert model["inputs"] == [
        {"name": "plane", "datatype": "BYTES", "shape": [-1, 1]},
        {"name": "x", "datatype": "FP64", "shape": [-1, 1]},
    ]
    assert [output["name"] for output in model["outputs"]] == ["score", "prediction_id"]


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_client_infers(served, control, binary):
    """Both encodings of inputs and outputs give the scores, and the prediction log has the rows."""
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("score", "prediction_id")]
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
        inputs = tensors(["N1", "Zürich"], [0.5, 1.0], binary=binary)
        result = client.infer("flights", inputs, outputs=outputs, request_id="a7", model_version="1")
    assert result.as_numpy("score").tolist() == [0.25, 0.5]
    response = result.get_response()
    assert (response["id"], response["model_version"]) == ("a7", "1")
    ids = [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy("prediction_id")]
    control.barrier(1_000.0)
    assert [(row["prediction_id"], row["in.plane"], row["in.x"]) for row in control.rows()] == [
        (ids[0], "N1", 0.5),
        (ids[1], "Zürich", 1.0),
    ]


def test_async_client_infers(served):
    """The asyncio client works too, and without named outputs gets all."""

    async def ask():
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
            inputs = tensors(["N1"], [0.5], binary=True, client=triton_aio)
            result = await client.infer("flights", inputs)
            return result.as_numpy("score").tolist(), len(result.as_numpy("prediction_id"))

    assert asyncio.run(ask()) == ([0.25], 1)


def test_client_compresses(served):
    """Compressed requests are unpacked."""
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
        for algorithm in ("gzip", "deflate"):
            result = client.infer(
                "flights", tensors(["N1"], [0.5], binary=True), request_compression_algorithm=algorithm
            )
            assert result.as_numpy("score").tolist() == [0.25]


def test_client_is_told_what_is_wrong(served):
    """The client's exception carries the sentence."""
    with (
        triton.InferenceServerClient(f"127.0.0.1:{served.port}") as client,
        pytest.raises(triton.InferenceServerException, match=r"'x' is missing: expected a tensor FP64 of 1 rows"),
    ):
        client.infer("flights", tensors(["N1"], [0.5], binary=True)[:1])


def test_nan_is_a_missing_number(served):
    """A nullable column takes NaN in raw bytes; the model makes NaN of it, which is no prediction and not the client's fault."""
    x = np.array([[np.nan]], dtype=np.float64).tobytes()
    head = {
        "inputs": [PLANE, {"name": "x", "shape": [1, 1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}]
    }
    assert raw(served, head, x)[0] == 500


def test_a_pinned_version_answers_alone_and_is_not_judged(control, gateway, converted, deployment):
    """`/versions/2` asks the canary whatever its weight, and no rollout counts it."""
    stable, canary = converted(1, 0.5), converted(2, 0.25)
    control.route(deployment(stable, canary, canary=canary.id, canary_weight=1, rollout="r1", epoch=1))
    control.wait_applied()
    body = json.dumps({"inputs": [PLANE, X], "outputs": [{"name": "score"}]}).encode()
    status, answer = gateway.call("POST", "/v2/models/flights/versions/2/infer", body)
    assert (status, answer["model_version"], answer["outputs"][0]["data"]) == (200, "2", [0.125])
    control.barrier(1_000.0)
    assert [(delta.revision, delta.rollout) for delta in control.deltas] == [("flights/2", "")]


def tensor(name, shape, datatype, data):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


PLANE = tensor("plane", [1, 1], "BYTES", ["N1"])
X = tensor("x", [1, 1], "FP64", [0.5])


def infer(gateway, body, path="/v2/models/flights/infer", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.call("POST", path, content, **headers)


def raw(gateway, head, tail, length=None):
    content = json.dumps(head).encode()
    told = str(len(content)) if length is None else length
    return gateway.call("POST", "/v2/models/flights/infer", content + tail, **{"Inference-Header-Content-Length": told})


WRONG = {
    "not JSON": (b"{", "not JSON"),
    "not UTF-8": (b'{"id": "\xff", "inputs": []}', "JSON"),
    "a list": ([], "Expected `object`, got `array`"),
    "no inputs": ({}, "inputs"),
    "empty inputs": ({"inputs": []}, "no tensor"),
    "inputs of another type": ({"inputs": "x"}, "Expected `array`, got `str`"),
    "input without name": ({"inputs": [{"shape": [1], "datatype": "FP64", "data": [1]}]}, "name"),
    "input without shape": ({"inputs": [PLANE, {"name": "x", "datatype": "FP64", "data": [1]}]}, "shape"),
    "input without datatype": ({"inputs": [PLANE, {"name": "x", "shape": [1], "data": [1]}]}, "datatype"),
    "input without data": (
        {"inputs": [PLANE, {"name": "x", "shape": [1], "datatype": "FP64"}]},
        "expected data, found none",
    ),
    "wrong name": (
        {"inputs": [PLANE, tensor("y", [1, 1], "FP64", [1])]},
        "there is no input 'y'; the model takes plane, x",
    ),
    "name twice": ({"inputs": [PLANE, X, X]}, "'x' is there twice"),
    "missing input": ({"inputs": [X]}, "input 'plane' is missing: expected a tensor BYTES of 1 rows"),
    "unknown datatype": ({"inputs": [PLANE, tensor("x", [1, 1], "FP8", [1])]}, "found 'FP8'"),
    "datatype in lower case": ({"inputs": [PLANE, tensor("x", [1, 1], "fp64", [1])]}, "found 'fp64'"),
    "text for numbers": ({"inputs": [PLANE, tensor("x", [1, 1], "BYTES", ["a"])]}, "expected datatype FP64"),
    "booleans for numbers": ({"inputs": [PLANE, tensor("x", [1, 1], "BOOL", [True])]}, "expected datatype FP64"),
    "numbers for text": (
        {"inputs": [tensor("plane", [1, 1], "INT64", [1]), X]},
        "expected datatype BYTES, found INT64",
    ),
    "text in numbers": ({"inputs": [PLANE, tensor("x", [1, 1], "FP64", ["a"])]}, "Expected `float | null`, got `str`"),
    "boolean in numbers": ({"inputs": [PLANE, tensor("x", [1, 1], "FP64", [True])]}, "got `bool`"),
    "object in numbers": ({"inputs": [PLANE, tensor("x", [1, 1], "FP64", [{}])]}, "got `object`"),
    "number in text": ({"inputs": [tensor("plane", [1, 1], "BYTES", [7]), X]}, "Expected `str`, got `int`"),
    "null in text": ({"inputs": [tensor("plane", [1, 1], "BYTES", [None]), X]}, "Expected `str`, got `null`"),
    "NaN": (b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [NaN]}]}', "not JSON"),
    "data no list": ({"inputs": [PLANE, tensor("x", [1, 1], "FP64", 1)]}, "expected a list of values"),
    "data null": ({"inputs": [PLANE, tensor("x", [1, 1], "FP64", None)]}, "expected a list of values, found nothing"),
    "data ragged": ({"inputs": [PLANE, tensor("x", [2, 1], "FP64", [[1], [1, 2]])]}, "nested unevenly"),
    "too few values": ({"inputs": [PLANE, tensor("x", [1, 1], "FP64", [])]}, "expected 1 values by its shape, found 0"),
    "too many values": (
        {"inputs": [PLANE, tensor("x", [1, 1], "FP64", [1, 2])]},
        "expected 1 values by its shape, found 2",
    ),
    "too wide": (
        {"inputs": [PLANE, tensor("x", [1, 2], "FP64", [1, 2])]},
        "expected shape [1, 1] or [1], found [1, 2]",
    ),
    "too deep": ({"inputs": [PLANE, tensor("x", [1, 1, 1], "FP64", [1])]}, "found [1, 1, 1]"),
    "rows differ": (
        {"inputs": [PLANE, tensor("x", [2, 1], "FP64", [1, 2])]},
        "expected shape [1, 1] or [1], found [2, 1]",
    ),
    "negative shape": ({"inputs": [PLANE, tensor("x", [-1, 1], "FP64", [1])]}, "expected a shape of positive sizes"),
    "empty shape": ({"inputs": [PLANE, tensor("x", [], "FP64", [1])]}, "expected a shape of positive sizes"),
    "shape of text": ({"inputs": [PLANE, tensor("x", ["1"], "FP64", [1])]}, "Expected `int`, got `str`"),
    "shape of floats": ({"inputs": [PLANE, tensor("x", [1.5], "FP64", [1])]}, "Expected `int`, got `float`"),
    "shape enormous": ({"inputs": [PLANE, tensor("x", [2**62, 1], "FP64", [1])]}, "found [4611686018427387904, 1]"),
    "no rows": (
        {"inputs": [tensor("plane", [0, 1], "BYTES", []), tensor("x", [0, 1], "FP64", [])]},
        "expected 1 to 10000 rows, found 0",
    ),
    "matrix too wide": (
        {"inputs": [tensor("input-0", [1, 3], "FP64", [1, 2, 3])]},
        "expected shape [1, 2], found [1, 3]",
    ),
    "matrix of numbers for text": ({"inputs": [tensor("input-0", [1, 2], "FP64", [1, 2])]}, "expected datatype BYTES"),
    "unknown output": (
        {"inputs": [PLANE, X], "outputs": [{"name": "y"}]},
        "there is no output 'y' (there is: score, prediction_id)",
    ),
    "outputs of another type": ({"inputs": [PLANE, X], "outputs": "score"}, "Expected `array | null`, got `str`"),
    "key of another type": ({"inputs": [PLANE, X], "parameters": {"key": {}}}, "parameters.key"),
    "more keys than rows": ({"inputs": [PLANE, X], "parameters": {"key": ["a", "b"]}}, "key has 2 values for 1 rows"),
    "no time": ({"inputs": [PLANE, X], "parameters": {"event_time": "noon"}}, "'noon' is no time"),
    "nested deeply": (b'{"inputs": [' + b"[" * 100_000, "got `array`"),
}


def test_wrong_requests_are_the_clients_fault_and_say_what_is_wrong(served):
    """Every one is a 400 whose one text names field, expected and found; none is a 500."""
    answers = {name: infer(served, body) for name, (body, _) in WRONG.items()}
    assert {name: answer for name, answer in answers.items() if answer[0] != 400} == {}
    assert {n: a["error"] for n, (_, a) in answers.items() if WRONG[n][1] not in a["error"]} == {}
    assert infer(served, {"inputs": [PLANE, X]})[0] == 200


def test_wrong_binary_requests_say_what_is_wrong(served):
    """Lengths that do not add up are named, in either direction."""
    x = {"name": "x", "shape": [1, 1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}
    plane = {"name": "plane", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}}
    four = np.float32(0.5).tobytes()
    good = {"inputs": [PLANE, x]}
    cases = [
        (good, four, None, None),
        (good, four[:3], None, "expected binary_data_size up to the 3 bytes left, found 4"),
        (good, four + b"x", None, "1 bytes behind the last binary tensor"),
        (good, four, "x", "expected a number up to"),
        (good, four, "-1", "expected a number up to"),
        (good, four, "999999", "expected a number up to"),
        (good, four, "5", "not JSON"),
        ({"inputs": [PLANE, {**x, "data": [1]}]}, four, None, "has both data and binary_data_size"),
        ({"inputs": [PLANE, {**x, "datatype": "FP64"}]}, four, None, "expected 8 bytes (1 FP64), found 4"),
        ({"inputs": [PLANE, {**x, "parameters": {"binary_data_size": -4}}]}, four, None, "found -4"),
        ({"inputs": [PLANE, x]}, np.float32(np.inf).tobytes(), None, "expected finite numbers"),
        ({"inputs": [plane, X]}, b"\x02\0\0\0N1", None, None),
        ({"inputs": [plane, X]}, b"\x09\0\0\0N1", None, "value 0 goes 7 bytes beyond"),
        ({"inputs": [plane, X]}, b"\x02\0\0\0\xff\xfe", None, "expected UTF-8"),
        ({"inputs": [plane, X]}, b"\x01\0\0\0N1", None, "beyond"),
    ]
    for head, tail, length, words in cases:
        status, answer = raw(served, head, tail, length)
        assert status == (400 if words else 200), (head, answer)
        assert not words or words in answer["error"], answer


def test_wrong_paths_and_methods(served):
    """Unknown models, versions and paths are 404, other methods 405, and nothing controls the repository."""
    good = {"inputs": [PLANE, X]}
    cases = [
        ("POST", "/v2/models/fraud/infer", 404, "there is no deployment 'fraud' (there is: flights)"),
        ("POST", "/v2/models/flights/versions/9/infer", 404, "no version '9' that answers (there is: 1)"),
        ("GET", "/v2/models/fraud", 404, "fraud"),
        ("GET", "/v2/models/flights/versions/9", 404, "'9'"),
        ("GET", "/v2/models/flights/infer", 405, "use POST"),
        ("POST", "/v2/models/flights", 405, "use GET"),
        ("POST", "/v2/health/ready", 405, "use GET"),
        ("GET", "/v2/models", 404, "there is nothing at"),
        ("GET", "/v2/models/flights/stats", 404, "there is nothing at"),
        ("POST", "/v2/repository/models/flights/load", 404, "tournant decides what is loaded"),
        ("GET", "/v3", 404, "there is nothing at"),
    ]
    for method, path, expected, words in cases:
        status, answer = served.call(method, path, json.dumps(good).encode() if method == "POST" else None)
        assert (status, words in str(answer["error"])) == (expected, True), (path, status, answer)


def test_compressed_bodies_are_bounded(served):
    """What does not unpack is 400, an unknown encoding too, and a bomb is refused at the limit."""
    body = json.dumps({"inputs": [PLANE, X]}).encode()
    ask = lambda content, encoding: infer(served, content, **{"Content-Encoding": encoding})  # noqa: E731
    assert ask(gzip.compress(body), "gzip")[0] == 200
    assert ask(body, "gzip")[0] == 400
    assert ask(gzip.compress(body)[:-9], "gzip")[0] == 400
    assert "expected gzip or deflate" in ask(body, "br")[1]["error"]
    assert ask(gzip.compress(b" " * 50_000_000), "gzip")[0] == 413
