"""The Open Inference Protocol V2 over gRPC, on the same path as REST. Needs the extra `grpc`."""

import hmac
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Any

import grpc
import grpc.aio
import structlog

from tournant.config import VERSION
from tournant.errors import Denied, Invalid, NotFound, Overloaded, TournantError, Unavailable
from tournant.serving.body import BODY_LIMIT_BYTES
from tournant.serving.failures import DeadlinePassed, WorkerLost, status_of
from tournant.serving.gateway import Gateway
from tournant.serving.headers import Headers, header
from tournant.serving.open_inference import (
    PLATFORM,
    TensorSpec,
    arm_of,
    check_datatype,
    check_outputs,
    inputs_of,
    outputs_of,
    read_tensors,
    versions_of,
    write_tensors,
)
from tournant.serving.open_inference_messages import SERVICE, Messages
from tournant.serving.tensors import Tensor, decode_raw, encode_raw, size_of
from tournant.serving.tracing import Tracing

__all__ = ["GrpcServer"]

PROTOCOL = "grpc"
_OPEN = ("ServerLive", "ServerReady")
_CODES: tuple[tuple[type[TournantError], grpc.StatusCode], ...] = (
    (Denied, grpc.StatusCode.UNAUTHENTICATED),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Invalid, grpc.StatusCode.INVALID_ARGUMENT),
    (DeadlinePassed, grpc.StatusCode.DEADLINE_EXCEEDED),
    (WorkerLost, grpc.StatusCode.UNAVAILABLE),
    (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
)
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class GrpcServer:
    """One server on one port; starts and stops with the gateway's event loop."""

    def __init__(
        self,
        gateway: Gateway,
        address: str,
        *,
        token: str = "",
        share_port: bool = False,
        tracing: Tracing | None = None,
    ) -> None:
        """Serve `gateway` at `address` (`host:port`), to whoever sends `token` if there is one."""
        self._gateway = gateway
        self._address = address
        self._proof = f"Bearer {token}" if token else ""
        self._share_port = share_port
        self._tracing = tracing
        self._messages = Messages()
        self._server: Any = None
        self._log = structlog.get_logger("tournant.gateway")
        self.port = 0

    async def start(self) -> None:
        """Listen; Unavailable if the port is taken."""
        options = [
            ("grpc.max_receive_message_length", BODY_LIMIT_BYTES),
            ("grpc.so_reuseport", int(self._share_port)),
        ]
        self._server = grpc.aio.server(options=options)
        calls = (
            *(self._server_live, self._server_ready, self._server_metadata),
            *(self._model_ready, self._model_metadata, self._model_infer),
        )
        handlers = {_method(call): grpc.unary_unary_rpc_method_handler(self._answering(call)) for call in calls}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            self.port = self._server.add_insecure_port(self._address)
        except RuntimeError as exc:
            raise Unavailable(f"gRPC cannot listen on {self._address}: choose another port, --grpc-port") from exc
        await self._server.start()

    async def stop(self) -> None:
        """Finish what is under way, and stop."""
        if self._server:
            await self._server.stop(2)

    def _answering(self, call: Callable[[Any, Headers], Awaitable[Any]]) -> Any:
        """Wrap a call: bytes to message and back, the token, errors as status codes, metrics."""
        name = _method(call)
        kind = getattr(self._messages, f"{name}Request")

        async def answer(body: bytes, context: Any) -> bytes:
            started = time.perf_counter()
            deployment, error = "", None
            headers = _headers(context.invocation_metadata())
            spanned = self._tracing.request(PROTOCOL, name, SERVICE, headers) if self._tracing else nullcontext()
            with spanned as span:
                try:
                    if self._proof and name not in _OPEN:
                        self._demand(headers)
                    request = _parsed(kind, body)
                    deployment = request.model_name if name == "ModelInfer" else ""
                    told: bytes = (await call(request, headers)).SerializeToString()
                except TournantError as exc:
                    error = exc
                except Exception as exc:
                    self._log.exception("request failed", method=name)
                    error = TournantError(f"the gateway has a fault ({type(exc).__name__}); see its log")
                status = status_of(error) if error else 200
                if span:
                    span.end(status, deployment, error.code if error else "")
            if name == "ModelInfer":
                self._note(deployment, error, status, time.perf_counter() - started)
            if error:
                await context.abort(_code(error), error.message)
            return told

        return answer

    def _note(self, deployment: str, error: TournantError | None, status: int, seconds: float) -> None:
        known = deployment if deployment in self._gateway.fleet.endpoints else ""
        self._gateway.metrics.answered(known, PROTOCOL, status, seconds)
        if error:
            self._gateway.metrics.failed(known, PROTOCOL, error.code)

    def _demand(self, headers: Headers) -> None:
        if not hmac.compare_digest(header(headers, b"authorization"), self._proof.encode()):
            raise Denied("a token is needed: send it as metadata 'authorization: Bearer …'")

    async def _server_live(self, _request: Any, _headers: Headers) -> Any:
        return self._messages.ServerLiveResponse(live=True)

    async def _server_ready(self, _request: Any, _headers: Headers) -> Any:
        return self._messages.ServerReadyResponse(ready=self._gateway.health()[0] == 200)

    async def _server_metadata(self, _request: Any, _headers: Headers) -> Any:
        return self._messages.ServerMetadataResponse(name="tournant", version=VERSION)

    async def _model_ready(self, request: Any, _headers: Headers) -> Any:
        try:
            arm_of(self._gateway.endpoint(request.name), request.version)
        except (NotFound, Unavailable):
            return self._messages.ModelReadyResponse(ready=False)
        return self._messages.ModelReadyResponse(ready=True)

    async def _model_metadata(self, request: Any, _headers: Headers) -> Any:
        endpoint = self._gateway.endpoint(request.name)
        arm = arm_of(endpoint, request.version) or endpoint.stable
        return self._messages.ModelMetadataResponse(
            name=endpoint.name,
            versions=[request.version] if request.version else list(versions_of(endpoint)),
            platform=PLATFORM,
            inputs=self._specs(inputs_of(endpoint)),
            outputs=self._specs(outputs_of(arm.held.output)),
        )

    async def _model_infer(self, request: Any, headers: Headers) -> Any:
        endpoint = self._gateway.endpoint(request.model_name)
        only = arm_of(endpoint, request.model_version)
        parameters = {name: _value(given) for name, given in request.parameters.items()}
        rows = read_tensors(endpoint.schema, _tensors(request), parameters)
        names = [output.name for output in request.outputs]
        check_outputs((only or endpoint.stable).held.output, names)
        answered = await self._gateway.answer(endpoint, rows, headers, only)
        answer = self._messages.ModelInferResponse(
            model_name=endpoint.name, model_version=answered.held.version.rpartition("@")[2], id=request.id
        )
        answer.parameters["revision"].string_param = answered.held.id
        for tensor in write_tensors(answered, answered.held.output, names):
            answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            answer.raw_output_contents.append(encode_raw(tensor))
        return answer

    def _specs(self, specs: Sequence[TensorSpec]) -> list[Any]:
        return [self._messages.TensorMetadata(name=s.name, datatype=s.datatype, shape=s.shape) for s in specs]


def _method(call: Callable[..., Any]) -> str:
    """Give the protocol's name of `_model_infer`: ModelInfer."""
    return call.__name__.title().replace("_", "")


def _headers(metadata: Any) -> Headers:
    pairs = [(name, value) for name, value in metadata or ()]
    return [(n.encode(), v if isinstance(v, bytes) else v.encode("latin-1", "replace")) for n, v in pairs]


def _parsed(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except Exception as exc:  # protobuf's DecodeError, which each of its implementations has anew
        raise Invalid(f"the message is no {kind.DESCRIPTOR.name}: {exc}") from exc


def _code(error: TournantError) -> grpc.StatusCode:
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def _value(parameter: Any) -> Any:
    kind = parameter.WhichOneof("choice")
    return getattr(parameter, kind) if kind else None


def _tensors(request: Any) -> list[Tensor]:
    raws = request.raw_input_contents
    if raws and len(raws) != len(request.inputs):
        message = f"raw_input_contents: expected one for each of {len(request.inputs)} inputs, found {len(raws)}"
        raise Invalid(message, place="raw_input_contents")
    tensors = []
    for index, given in enumerate(request.inputs):
        check_datatype(given.datatype, given.name)
        shape = list(given.shape)
        count = size_of(shape, given.name)
        values = decode_raw(raws[index], given.datatype, count, given.name) if raws else _contents(given)
        tensors.append(Tensor(name=given.name, datatype=given.datatype, shape=shape, values=values))
    return tensors


def _contents(given: Any) -> list[Any]:
    field = _CONTENTS.get(given.datatype)
    if field is None:
        message = f"input {given.name!r}: expected {given.datatype} in raw_input_contents, found it in contents"
        raise Invalid(message, place=f"{given.name}.contents")
    values = list(getattr(given.contents, field))
    if field != "bytes_contents":
        return values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as exc:
        raise Invalid(f"input {given.name!r}: expected UTF-8 text, found other bytes", place=given.name) from exc
