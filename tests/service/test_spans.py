"""OpenTelemetry: the service in a process of its own, a collector that takes what it sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.servers import Answer, Asked, Server
from tests.serving import running_service

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(Server):
    """Takes spans over OTLP."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.spans: list[Span] = []

    def _answer(self, asked: Asked) -> Answer:
        assert asked.path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(asked.body).resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return Answer(200)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


def test_a_request_is_a_span_of_the_callers_trace_and_the_log_has_its_number(
    collector: Collector, tmp_path: Path
) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
                 "OTEL_BSP_SCHEDULE_DELAY": "100", "NO_PROXY": "127.0.0.1"}  # fmt: skip
    with running_service(tmp_path, **variables) as service:
        headers = {"X-API-Key": service.key, "traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "mine"}
        answer = httpx.get(f"{service.url}/v1/overrides", headers=headers, trust_env=False, timeout=60)
        assert answer.status_code == 200
    span = next(span for span in collector.spans if span.name == "GET /v1/overrides")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert not [span.name for span in collector.spans if "readyz" in span.name]
    lines = [json.loads(line) for line in (tmp_path / "service.txt").read_text().splitlines()]
    line = next(line for line in lines if line.get("request_id") == "mine")
    assert (line["trace_id"], line["span_id"]) == (TRACE, span.span_id.hex())
