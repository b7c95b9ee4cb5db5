"""OpenTelemetry spans: one for a request, below it one for each call of a model. Needs the extra `otel`.

Where spans go, how many are taken and under which name is said by OpenTelemetry's own variables
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, …). Without an address nothing is imported, and
nothing is spent.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from tournant.config import VERSION
from tournant.errors import Invalid
from tournant.serving.headers import Headers

__all__ = ["RequestSpan", "Tracing", "model_span", "open_tracing", "traced"]

_ADDRESSES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PARENTS = (b"traceparent", b"tracestate")
_NOTHING: AbstractContextManager[None] = nullcontext()
_active: ContextVar[Any] = ContextVar("tracer", default=None)  # the tracer of the request being answered


def open_tracing(environ: Mapping[str, str]) -> "Tracing | None":
    """Give tracing if `environ` names where spans go; Invalid without the extra."""
    if not any(environ.get(name) for name in _ADDRESSES) or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        return Tracing(environ.get("OTEL_SERVICE_NAME") or "tournant-gateway")
    except ImportError as exc:
        raise Invalid(
            f"OpenTelemetry needs the extra otel ({exc.name} is missing): pip install 'tournant[otel]',"
            f" or unset {' and '.join(_ADDRESSES)}"
        ) from exc


def model_span(revision: str, rows: int) -> AbstractContextManager[Any]:
    """Give a span of a model's call, below its request's; nothing where that has none."""
    tracer = _active.get()
    if tracer is None:
        return _NOTHING
    attributes = {"tournant.revision": revision, "tournant.rows": rows}
    return tracer.start_as_current_span("model", attributes=attributes)  # type: ignore[no-any-return]


def traced() -> bool:
    """Tell whether the request that is being answered has a span."""
    return _active.get() is not None


class RequestSpan:
    """The span of one request."""

    def __init__(self, span: Any, failed: Any) -> None:
        """Describe `span`; `failed` is the status of one that failed."""
        self._span = span
        self._failed = failed

    def end(self, status: int, deployment: str, error: str) -> None:
        """Say how it went; a server's error fails the span, a client's does not."""
        self._span.set_attribute("http.response.status_code", status)
        if deployment:
            self._span.set_attribute("tournant.deployment", deployment)
        if error:
            self._span.set_attribute("error.type", error)
        if status >= 500:
            self._span.set_status(self._failed)


class Tracing:
    """Makes spans, and sends them from a thread of its own."""

    def __init__(self, service: str) -> None:
        """Start, as `service`; ImportError without OpenTelemetry."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create({"service.name": service, "service.version": VERSION})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("tournant", VERSION)
        self._read_parent = TraceContextTextMapPropagator().extract
        self._kind = SpanKind.SERVER
        self._failed = Status(StatusCode.ERROR)

    @contextmanager
    def request(self, protocol: str, method: str, path: str, headers: Headers) -> Iterator[RequestSpan]:
        """Give the span of one request, below its client's if the headers name one (W3C trace context)."""
        carrier = {name.decode(): value.decode("latin-1") for name, value in headers if name in _PARENTS}
        attributes = {"http.request.method": method, "url.path": path}
        token = _active.set(self._tracer)
        try:
            with self._tracer.start_as_current_span(
                f"{method} {protocol}", context=self._read_parent(carrier), kind=self._kind, attributes=attributes
            ) as span:
                yield RequestSpan(span, self._failed)
        finally:
            _active.reset(token)

    def stop(self) -> None:
        """Send what is left; takes up to a few seconds when nobody listens."""
        self._provider.shutdown()
