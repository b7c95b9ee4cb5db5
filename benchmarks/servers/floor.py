"""The floor: uvicorn, JSON and onnxruntime, and nothing else. Run as `python floor.py MODEL.onnx PORT`."""

import sys

import msgspec
import numpy as np
import onnxruntime
import uvicorn


class Body(msgspec.Struct):
    """A row of named columns, in the model's order."""

    inputs: dict[str, float]


options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feed, output = session.get_inputs()[0].name, session.get_outputs()[1].name
decode, encode = msgspec.json.Decoder(Body).decode, msgspec.json.Encoder().encode


async def app(scope, receive, send):  # type: ignore[no-untyped-def]
    """Answer a prediction, whatever the path."""
    if scope["type"] != "http":
        return
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    row = np.array([list(decode(body).inputs.values())], dtype=np.float32)
    answer = encode({"score": float(session.run([output], {feed: row})[0][0, 1])})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


uvicorn.run(
    app,
    host="127.0.0.1",
    port=int(sys.argv[2]),
    loop="uvloop",
    http="httptools",
    ws="none",
    lifespan="off",
    log_level="warning",
    access_log=False,
    server_header=False,
    date_header=False,
)
