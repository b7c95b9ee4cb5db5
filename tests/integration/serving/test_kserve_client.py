"""The inference clients of the KServe SDK, unmodified, in an environment of their own (built once, kept in build/peers)."""

import subprocess

from benchmarks import peers

REQUIREMENTS = ("kserve==0.21.0",)
CLIENT = """
import asyncio, sys
import numpy
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

rest_url, grpc_address = sys.argv[1:]


def request():
    plane = InferInput("plane", [2, 1], "BYTES")
    plane.set_data_from_numpy(numpy.array([["N1"], ["N2"]], dtype=object), binary_data=binary)
    x = InferInput("x", [2, 1], "FP32")
    x.set_data_from_numpy(numpy.array([[0.5], [1.0]], dtype="float32"), binary_data=binary)
    return InferRequest(model_name="flights", infer_inputs=[plane, x])


def check(answer):
    outputs = {output.name: output for output in answer.outputs}
    assert outputs["score"].as_numpy().ravel().tolist() == [0.25, 0.5], outputs
    assert len(set(outputs["prediction_id"].as_numpy().ravel().tolist())) == 2


async def rest():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=1))
    assert await client.is_server_live(rest_url)
    assert await client.is_server_ready(rest_url)
    assert await client.is_model_ready(rest_url, "flights")
    assert not await client.is_model_ready(rest_url, "fraud")
    check(await client.infer(rest_url, request(), model_name="flights"))
    try:
        await client.infer(rest_url, InferRequest(model_name="fraud", infer_inputs=request().inputs), model_name="fraud")
    except Exception as exc:
        assert "404" in str(exc), exc
    else:
        raise AssertionError("an unknown model was answered")
    await client.close()


async def grpc():
    client = InferenceGRPCClient(grpc_address)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("flights")
    check(await client.infer(request()))
    await client.close()


for binary in (False, True):
    asyncio.run(rest())
    asyncio.run(grpc())
print("fine")
"""


def test_the_real_client_infers(control, run, converted, deployment):
    """Over REST and gRPC, with JSON and with binary tensors."""
    python = peers.environment("kserve-client", *REQUIREMENTS)
    gateway = run(grpc_port=0)
    control.route(deployment(converted(1, 0.5)))
    control.wait_applied()
    addresses = (f"http://127.0.0.1:{gateway.port}", f"127.0.0.1:{gateway.process.grpc_port}")
    done = subprocess.run([python, "-c", CLIENT, *addresses], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "fine\n", done.stdout + done.stderr
