"""W3C trace context: which trace a request belongs to."""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


class Trace(NamedTuple):
    """Numbers of a trace and of our part of it, in hexadecimal digits."""

    trace_id: str
    span_id: str


def trace_of(traceparent: str) -> Trace:
    """OpenTelemetry's span where one is open; else a part of the caller's trace, a new trace where none is given well.

    Source: https://www.w3.org/TR/trace-context/#traceparent-header; versions after 00 may have more parts.
    """
    context = get_current_span().get_span_context()
    if context.is_valid:
        return Trace(format_trace_id(context.trace_id), format_span_id(context.span_id))
    found = _TRACEPARENT.fullmatch(traceparent)
    given = found is not None and not (found[1] == "00" and found[4])
    return Trace(found[2] if found is not None and given else secrets.token_hex(16), secrets.token_hex(8))
