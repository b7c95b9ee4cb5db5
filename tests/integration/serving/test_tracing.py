"""Spans as a collector gets them, and the trace context they belong to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tournant.serving.open_inference_messages import Messages

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ROW = {"plane": "N1", "x": 0.25}


@pytest.fixture
def spans(monkeypatch):
    """Collect spans: name, attributes, trace, parent, kind, status."""
    found = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            for resource in request.resource_spans:
                service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
                found.extend((service, span) for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "fraud-gateway")
        yield found
        server.shutdown()


def attributes(span):
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_a_request_and_its_models_are_spans_of_the_clients_trace(control, run, spans, converted, deployment):
    """The canary that fails and the stable that answers are both below the request, which is below its client."""
    stable, canary = converted(1), converted(2, fragile=True)
    gateway = run(grpc_port=0)
    control.route(deployment(stable, canary, canary=canary.id, canary_weight=10_000))
    control.wait_applied()
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    assert gateway.predict(headers=headers, inputs={"plane": "N1", "x": 9.0})[0] == 200
    assert gateway.predict(inputs={"plane": "N1"})[0] == 422
    messages = Messages()
    asked = messages.ModelInferRequest(model_name="none").SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{gateway.process.grpc_port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError):
            infer(asked, metadata=[("traceparent", f"00-{TRACE}-{PARENT}-01")], timeout=10)
    gateway.stop()

    assert {service for service, _ in spans} == {"fraud-gateway"}
    requests = [span for _, span in spans if span.name == "POST predict"]
    first, second = sorted(requests, key=lambda span: span.start_time_unix_nano)
    assert (first.trace_id.hex(), first.parent_span_id.hex(), first.kind) == (TRACE, PARENT, 2)
    assert attributes(first)["http.response.status_code"] == 200
    assert attributes(first)["tournant.deployment"] == "flights"
    models = [span for _, span in spans if span.name == "model" and span.parent_span_id == first.span_id]
    assert [attributes(span)["tournant.revision"] for span in models] == ["flights/2", "flights/1"]
    assert [span.status.code for span in models] == [2, 0]
    assert second.trace_id.hex() != TRACE
    assert attributes(second)["error.type"] == "invalid"
    assert second.status.code == 0  # a client's error is no fault of the server
    (called,) = [span for _, span in spans if span.name == "ModelInfer grpc"]
    assert (called.trace_id.hex(), called.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(called)["error.type"] == "not_found"


def test_nobody_listening_hurts_nobody(control, run, converted, deployment, monkeypatch):
    """Predictions go on, and the gateway ends in time."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    gateway = run()
    control.route(deployment(converted(1)))
    control.wait_applied()
    assert gateway.call("POST", "/predict/flights", json.dumps({"inputs": ROW}).encode())[0] == 200
