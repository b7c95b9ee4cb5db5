"""The Open Inference Protocol V2 over REST: metadata, health and inference, JSON or with the binary tensor extension.

What is loaded is tournant's decision, so there is no repository control.
"""

from typing import Any

import msgspec

from tournant.config import VERSION
from tournant.errors import Invalid, NotFound, TournantError
from tournant.serving.endpoint import Endpoint
from tournant.serving.exchange import Call, Reply, allow
from tournant.serving.failures import Malformed, status_of
from tournant.serving.gateway import Gateway
from tournant.serving.headers import header
from tournant.serving.open_inference import (
    EXTENSIONS,
    PLATFORM,
    arm_of,
    check_datatype,
    check_outputs,
    inputs_of,
    outputs_of,
    read_tensors,
    versions_of,
    write_tensors,
)
from tournant.serving.tensors import Tensor, decode_raw, encode_raw, flatten, size_of

__all__ = ["OpenInference"]

PREFIX = "/v2"
HEADER_LENGTH = b"inference-header-content-length"


class _Parameters(msgspec.Struct):
    key: str | int | list[str | int] | None = None
    event_time: float | str | None = None
    binary_data: bool | None = None
    binary_data_size: int | None = None
    binary_data_output: bool | None = None


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)
    data: Any = msgspec.UNSET


class _Wanted(msgspec.Struct):
    name: str
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _Infer(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    outputs: list[_Wanted] | None = None
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class OpenInference:
    """Everything under `/v2`."""

    protocol = "open_inference"

    def __init__(self, gateway: Gateway) -> None:
        """Answer by `gateway`."""
        self._gateway = gateway
        self._decode = msgspec.json.Decoder(_Infer).decode
        self._encode = msgspec.json.Encoder().encode

    def takes(self, path: str) -> bool:
        """Tell whether a path is this protocol's."""
        return path == PREFIX or path.startswith(PREFIX + "/")

    def deployment(self, path: str) -> str:
        """Name the deployment that a path asks for predictions."""
        return path.split("/")[3] if path.endswith("/infer") and path.count("/") > 3 else ""

    async def answer(self, call: Call) -> Reply:
        """Answer a call."""
        match call.path.removeprefix(PREFIX).strip("/").split("/"):
            case [""]:
                allow(call, "GET")
                return self._told({"name": "tournant", "version": VERSION, "extensions": list(EXTENSIONS)})
            case ["health", "live"]:
                allow(call, "GET")
                return self._told({"live": True})
            case ["health", "ready"]:
                allow(call, "GET")
                status, _ = self._gateway.health()
                return self._told({"ready": status == 200}, status)
            case ["models", name, *rest]:
                return await self._model(call, name, rest)
            case ["repository", *_]:
                raise NotFound("there is no repository control: tournant decides what is loaded, by its deployments")
        raise NotFound(f"there is nothing at {call.path!r}: GET /v2, /v2/health/live, /v2/health/ready or /v2/models/…")

    def refusal(self, error: TournantError) -> Reply:
        """Say an error as the protocol has it: one text, and 400 for every wrong request."""
        status = status_of(error)
        return Reply(400 if status == 422 else status, self._encode({"error": error.message}))

    async def _model(self, call: Call, name: str, rest: list[str]) -> Reply:
        version = ""
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, rest = rest[1], rest[2:]
        match rest:
            case []:
                allow(call, "GET")
                return self._told(_metadata(self._gateway.endpoint(name), version))
            case ["ready"]:
                allow(call, "GET")
                arm_of(self._gateway.endpoint(name), version)
                return self._told({"name": name, "ready": True})
            case ["infer"]:
                allow(call, "POST")
                return await self._infer(call, self._gateway.endpoint(name), version)
        raise NotFound(f"there is nothing at {call.path!r}: a model has /ready, /infer and /versions/VERSION")

    async def _infer(self, call: Call, endpoint: Endpoint, version: str) -> Reply:
        only = arm_of(endpoint, version)
        body = call.body
        head, tail = _split(body, header(call.headers, HEADER_LENGTH).decode("latin-1"))
        asked = self._read(head)
        extras = {"key": asked.parameters.key, "event_time": asked.parameters.event_time}
        request = read_tensors(endpoint.schema, _tensors(asked, tail), extras)
        wanted = asked.outputs or []
        output = (only or endpoint.stable).held.output
        names = [one.name for one in wanted]
        check_outputs(output, names)
        answered = await self._gateway.answer(endpoint, request, call.headers, only)
        tensors = write_tensors(answered, answered.held.output, names)
        binary = {one.name: one.parameters.binary_data for one in wanted}
        everything = bool(asked.parameters.binary_data_output)
        told, raws = [], []
        for tensor in tensors:
            given = binary.get(tensor.name)
            block = encode_raw(tensor) if (everything if given is None else given) else None
            told.append(_described(tensor, block))
            if block is not None:
                raws.append(block)
        answer: dict[str, Any] = {
            "model_name": endpoint.name,
            "model_version": answered.held.version.rpartition("@")[2],
            "parameters": {"revision": answered.held.id},
            "outputs": told,
        }
        if asked.id:
            answer["id"] = asked.id
        return _reply(self._encode(answer), raws)

    def _read(self, head: bytes) -> _Infer:
        try:
            return self._decode(head)
        except msgspec.ValidationError as exc:
            raise Invalid(f"the request is wrong: {exc}") from exc
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise Malformed(f"the body is not JSON: {exc}") from exc

    def _told(self, told: object, status: int = 200) -> Reply:
        return Reply(status, self._encode(told))


def _metadata(endpoint: Endpoint, version: str) -> dict[str, Any]:
    arm = arm_of(endpoint, version) or endpoint.stable
    return {
        "name": endpoint.name,
        "versions": [version] if version else list(versions_of(endpoint)),
        "platform": PLATFORM,
        "inputs": [spec._asdict() for spec in inputs_of(endpoint)],
        "outputs": [spec._asdict() for spec in outputs_of(arm.held.output)],
    }


def _split(body: bytes, length: str) -> tuple[bytes, memoryview]:
    """Cut the JSON from the raw tensors behind it."""
    if not length:
        return body, memoryview(b"")
    if not (length.isascii() and length.isdecimal() and int(length) <= len(body)):
        message = f"Inference-Header-Content-Length: expected a number up to the body's {len(body)} bytes, found {length[:40]!r}"
        raise Invalid(message, place="Inference-Header-Content-Length")
    return body[: int(length)], memoryview(body)[int(length) :]


def _tensors(asked: _Infer, tail: memoryview) -> list[Tensor]:
    tensors, start = [], 0
    for given in asked.inputs:
        check_datatype(given.datatype, given.name)
        size = given.parameters.binary_data_size
        count = size_of(given.shape, given.name)
        if size is None:
            if given.data is msgspec.UNSET:
                raise Invalid(f"input {given.name!r}: expected data, found none", place=f"{given.name}.data")
            values = flatten(given.data, given.name)
        elif given.data is not msgspec.UNSET:
            raise Invalid(f"input {given.name!r} has both data and binary_data_size: send one", place=given.name)
        else:
            if not 0 <= size <= len(tail) - start:
                left = len(tail) - start
                message = f"input {given.name!r}: expected binary_data_size up to the {left} bytes left, found {size}"
                raise Invalid(message, place=f"{given.name}.parameters.binary_data_size")
            values = decode_raw(tail[start : start + size], given.datatype, count, given.name)
            start += size
        tensors.append(Tensor(name=given.name, datatype=given.datatype, shape=given.shape, values=values))
    if start != len(tail):
        raise Invalid(f"the body has {len(tail) - start} bytes behind the last binary tensor: expected none")
    return tensors


def _described(tensor: Tensor, block: bytes | None) -> dict[str, Any]:
    told: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    if block is None:
        return {**told, "data": tensor.values}
    return {**told, "parameters": {"binary_data_size": len(block)}}


def _reply(head: bytes, raws: list[bytes]) -> Reply:
    if not raws:
        return Reply(200, head)
    length = str(len(head)).encode()
    kind = (b"content-type", b"application/octet-stream")
    return Reply(200, b"".join((head, *raws)), (kind, (HEADER_LENGTH, length)))
