"""The Open Inference Protocol over gRPC, asked by the real client."""

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc

# The client's destructor raises when the interpreter's own order of things is against it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def served(control, run, converted, deployment):
    """A gateway that answers flights with probability x / 2, by gRPC too."""
    gateway = run(grpc_port=0)
    control.route(deployment(converted(1, 0.5)))
    control.wait_applied()
    return gateway


@pytest.fixture
def address(served):
    return f"127.0.0.1:{served.process.grpc_port}"


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address) as client:
        yield client


@pytest.fixture
def stub(address):
    with grpc.insecure_channel(address) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def tensors(planes, xs, datatype="FP32"):
    plane = triton.InferInput("plane", [len(planes), 1], "BYTES")
    plane.set_data_from_numpy(np.array([[p] for p in planes], dtype=object))
    x = triton.InferInput("x", [len(xs), 1], datatype)
    x.set_data_from_numpy(np.array([[v] for v in xs], dtype={"FP32": np.float32, "FP64": np.float64}[datatype]))
    return [plane, x]


def test_client_sees_server_and_model(client):
    """Health, metadata and versions."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights")
    assert not client.is_model_ready("flights", "9")
    assert not client.is_model_ready("fraud")
    assert client.get_server_metadata().name == "tournant"
    model = client.get_model_metadata("flights")
    assert (model.name, list(model.versions), model.platform) == ("flights", ["1"], "tournant")
    assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [
        ("plane", "BYTES", [-1, 1]),
        ("x", "FP64", [-1, 1]),
    ]


def test_client_infers(client, control):
    """Scores and ids come back, and the rows are in the prediction log."""
    wanted = [triton.InferRequestedOutput("score"), triton.InferRequestedOutput("prediction_id")]
    result = client.infer("flights", tensors(["N1", "Zürich"], [0.5, 1.0]), outputs=wanted, request_id="a7")
    assert result.as_numpy("score").tolist() == [0.25, 0.5]
    assert (result.get_response().id, result.get_response().model_version) == ("a7", "1")
    ids = [value.decode() for value in result.as_numpy("prediction_id")]
    control.barrier(1_000.0)
    assert [(row["prediction_id"], row["in.plane"]) for row in control.rows()] == [(ids[0], "N1"), (ids[1], "Zürich")]


def test_typed_contents_are_read_too(stub):
    """Values in the fields of their type, not raw."""
    request = service_pb2.ModelInferRequest(model_name="flights")
    plane = request.inputs.add(name="plane", datatype="BYTES", shape=[1])
    plane.contents.bytes_contents.append(b"N1")
    x = request.inputs.add(name="x", datatype="FP64", shape=[1, 1])
    x.contents.fp64_contents.append(0.5)
    answer = stub.ModelInfer(request)
    assert np.frombuffer(answer.raw_output_contents[0], dtype="<f8").tolist() == [0.25]


def test_wrong_requests_have_their_codes_and_say_what_is_wrong(client, served):
    """INVALID_ARGUMENT and NOT_FOUND, never INTERNAL; the metrics have them by kind."""
    good = tensors(["N1"], [0.5])
    two = triton.InferInput("x", [1, 2], "FP32")
    two.set_data_from_numpy(np.zeros((1, 2), dtype=np.float32))
    wrong_type = triton.InferInput("x", [1, 1], "BOOL")
    wrong_type.set_data_from_numpy(np.zeros((1, 1), dtype=bool))
    stranger = triton.InferInput("y", [1, 1], "FP32")
    stranger.set_data_from_numpy(np.zeros((1, 1), dtype=np.float32))
    cases = [
        (("fraud", good), {}, "NOT_FOUND", "there is no deployment 'fraud'"),
        (("flights", good), {"model_version": "9"}, "NOT_FOUND", "no version '9'"),
        (("flights", good[:1]), {}, "INVALID_ARGUMENT", "'x' is missing"),
        (("flights", [good[0], two]), {}, "INVALID_ARGUMENT", "expected shape [1, 1] or [1], found [1, 2]"),
        (("flights", [good[0], wrong_type]), {}, "INVALID_ARGUMENT", "expected datatype FP64"),
        (("flights", [*good, stranger]), {}, "INVALID_ARGUMENT", "there is no input 'y'"),
        (("flights", tensors(["N1"], [float("inf")])), {}, "INVALID_ARGUMENT", "finite"),
        (("flights", good), {"outputs": [triton.InferRequestedOutput("z")]}, "INVALID_ARGUMENT", "no output 'z'"),
    ]
    for asked, more, code, words in cases:
        with pytest.raises(triton.InferenceServerException) as caught:
            client.infer(*asked, **more)
        assert caught.value.status() == f"StatusCode.{code}", caught.value
        assert words in caught.value.message()
    counted = [sample for sample in served.process.gateway.samples() if sample.family == "tournant_errors_total"]
    assert {sample.labels: sample.value for sample in counted} == {
        (("deployment", ""), ("protocol", "grpc"), ("kind", "not_found")): 1,
        (("deployment", "flights"), ("protocol", "grpc"), ("kind", "not_found")): 1,
        (("deployment", "flights"), ("protocol", "grpc"), ("kind", "invalid")): 6,
    }


def test_what_is_no_message_is_the_clients_fault(address):
    """Bytes that are no protobuf, and raw contents that are not one an input."""
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            ask(b"\xff\xff")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        request = service_pb2.ModelInferRequest(model_name="flights", raw_input_contents=[b"a"])
        with pytest.raises(grpc.RpcError) as caught:
            ask(request.SerializeToString())
        assert "expected one for each of 0 inputs, found 1" in caught.value.details()


def test_a_token_is_demanded(control, run, converted, deployment):
    """Without it only health answers."""
    gateway = run(grpc_port=0, token="secret")
    control.route(deployment(converted(1, 0.5)))
    control.wait_applied()
    with triton.InferenceServerClient(f"127.0.0.1:{gateway.process.grpc_port}") as client:
        assert client.is_server_live()
        with pytest.raises(triton.InferenceServerException, match="token"):
            client.infer("flights", tensors(["N1"], [0.5]))
        headers = {"authorization": "Bearer secret"}
        assert client.infer("flights", tensors(["N1"], [0.5]), headers=headers).as_numpy("score").tolist() == [0.25]
