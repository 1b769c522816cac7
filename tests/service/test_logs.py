"""What stands in the log, and what never does."""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa

from service.auth import COOKIE
from service.graph import load
from service.logs import without_texts
from service.said import Said
from service.tracing import trace_of
from tests.databases import Postgres
from tests.serving import Service, running_service

PASSWORD, SECRET, REDIS = "pw-hunter2-database", "secret-of-the-session-" + "x" * 20, "pw-hunter3-redis"
QUERY, BODY, PLANTED, WRONG = "query-5ecr3t", "body-5ecr3t", "planted-5ecr3t", "orpr_wr0ng-key"
TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0b2tlbi01ZWNyM3QifQ.c2lnbmF0dXJl"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BROKEN = f"""
import logging
import orpr.serving
made = orpr.serving.create_app
def with_bugs(*given):
    app = made(*given)
    def broken(): raise RuntimeError("{PLANTED}")
    def chained():
        try: broken()
        except RuntimeError as error: raise ValueError(str(error)) from error
    def told():
        try: broken()
        except RuntimeError as error:
            logging.getLogger("library").exception(f"failed: {{error}}")
            logging.getLogger("library").warning("failed: %s", error)
            import warnings; warnings.warn("a warning", stacklevel=1)
    for bug in (broken, chained, told): app.add_api_route("/" + bug.__name__, bug)
    return app
orpr.serving.create_app = with_bugs
from orpr.cli import main
main()
"""


class Run(NamedTuple):
    """What the service said in answers and in its log."""

    key: str
    answers: list[httpx.Response]
    log: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines()]

    def of(self, request_id: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("request_id") == request_id]


def ask(service: Service) -> Iterator[httpx.Response]:
    """All kinds of requests, good and bad, with secrets in every place."""
    good = {"X-API-Key": service.key, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    series = {"items": [{"item_id": "B101", "location_id": "S17", "on_hand": 3}], "record": False}
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as client:
        yield client.post("/v1/recommendations", json=series, headers=good | {"X-Request-ID": "good"})
        yield client.post("/v1/recommendations", json={"items": BODY}, headers=good)
        yield client.post("/v1/recommendations", content=f'{{"{BODY}'.encode(), headers=good)
        yield client.get(f"/v1/decisions/{BODY}", headers=good)
        yield client.get(f"/v1/overrides?limit={QUERY}&token={QUERY}", headers=good)
        yield client.get("/v1/overrides", headers={"X-API-Key": WRONG})
        yield client.get("/v1/overrides", headers={"Authorization": f"Bearer {TOKEN}"})
        yield client.put("/v1/items", content=BODY, headers=good | {"Content-Type": "application/json"})
        yield client.put("/v1/items", content=BODY, headers=good | {"Content-Type": BODY})
        yield client.post("/v1/overrides", json={"reason": BODY, "value": BODY}, headers=good)
        yield client.get(f"/{BODY}?key={QUERY}")
        yield client.get(f"/_nicegui/{BODY}?key={QUERY}")
        yield client.post("/login", data={"key": WRONG})
        yield client.post("/login", data={"key": service.key})
        yield client.get("/", headers={"X-Request-ID": "page"})
        yield client.post("/logout")
        yield client.get("/healthz", headers={"Host": "evil.example"})
        yield client.get("/v1/overrides", headers={"Host": f"{QUERY}.example"})
        yield client.post("/v1/overrides", headers={"Origin": f"https://{QUERY}.example"})
        for bug in ("broken", "chained", "told"):
            yield client.get(f"/{bug}?key={QUERY}", headers=good | {"X-Request-ID": bug})
    where = urlsplit(service.url)
    with socket.create_connection((where.hostname, where.port)) as raw:  # type: ignore[arg-type]
        raw.sendall(f"{BODY}\r\nX-API-Key: {service.key}\r\n\r\n".encode())
        raw.recv(1000)


@pytest.fixture(scope="module")
def run(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("logs")
    url = sa.make_url(postgres.new()).set(password=PASSWORD).render_as_string(hide_password=False)
    variables = {"ORPR_DATABASE_URL": url, "ORPR_SESSION_SECRET": SECRET, "ORPR_LOG_LEVEL": "debug",
                 "ORPR_REDIS_URL": f"redis://:{REDIS}@127.0.0.1:9/0"}  # fmt: skip
    with running_service(folder, program=BROKEN, **variables) as service:
        answers = list(ask(service))
    return Run(service.key, answers, (folder / "service.txt").read_text(encoding="utf-8"))


def test_every_line_is_json_with_time_level_and_event(run: Run) -> None:
    assert len(run.lines) > len(run.answers)
    for line in run.lines:
        assert {"event", "level", "logger", "timestamp"} <= set(line)


def test_no_secret_stands_in_the_log(run: Run) -> None:
    cookies = [answer.cookies[COOKIE] for answer in run.answers if COOKIE in answer.cookies]
    secrets = [run.key, PASSWORD, SECRET, REDIS, QUERY, BODY, PLANTED, WRONG, TOKEN, TOKEN.split(".")[1], *cookies]
    assert cookies
    for secret in secrets:
        assert secret not in run.log, secret
    assert not re.search(r"\borpr_[A-Za-z0-9_-]{20}", run.log)


def test_no_answer_says_where_the_code_failed(run: Run) -> None:
    assert {500} == {answer.status_code for answer in run.answers if "/broken" in str(answer.url)}
    for answer in run.answers:
        assert "Traceback" not in answer.text
        assert ".py" not in answer.text
        assert PLANTED not in answer.text


def test_a_request_leaves_one_line_that_says_what_was_asked_and_by_whom(run: Run) -> None:
    assert len([line for line in run.lines if line["event"] == "request" and line["route"] != "/readyz"]) == len(
        run.answers
    )
    line = next(line for line in run.of("good") if line["event"] == "request")
    expected = {"method": "POST", "route": "/v1/recommendations", "status": 200, "key": "planner", "trace_id": TRACE}
    assert line | expected == line
    assert line["duration_ms"] > 0
    assert line["span_id"] != "00f067aa0ba902b7"
    assert run.of("page")[-1]["key"] == "planner"


def test_lines_on_the_way_carry_the_numbers_of_the_request(run: Run) -> None:
    lines = run.of("told")
    assert [line["event"] for line in lines[:2]] == ["failed: RuntimeError"] * 2
    assert "a warning" in lines[2]["event"]
    assert lines[3]["event"] == "request"
    assert {line["trace_id"] for line in lines} == {TRACE}
    assert any("redis does not answer" in line["event"] for line in run.of("good"))


def test_a_bug_is_logged_once_with_its_kind_and_place(run: Run) -> None:
    line, request = run.of("broken")
    assert "Traceback" not in run.log
    assert (line["event"], line["level"]) == ("unhandled error", "error")
    assert [one["type"] for one in line["exception"]] == ["RuntimeError"]
    assert re.fullmatch(r"<string>:\d+ broken", line["exception"][0]["raised_at"])
    assert request["status"] == 500
    assert [one["type"] for one in run.of("chained")[0]["exception"]] == ["ValueError", "RuntimeError"]
    for one in (error for line in run.lines for error in line.get("exception", [])):
        assert one.keys() <= {"type", "raised_at", "called_from"}  # two places, no stack


def test_a_line_names_where_an_error_was_raised_and_our_own_code_that_led_there() -> None:
    try:
        Said([], 1).keep([b""], None)  # type: ignore[arg-type]
    except TypeError as error:
        record = logging.LogRecord(
            "service", logging.ERROR, "", 0, "failed", (), (TypeError, error, error.__traceback__)
        )
        said = without_texts(None, "error", {"event": "failed", "_record": record, "exc_info": record.exc_info})
    (one,) = said["exception"]
    assert re.fullmatch(r"service/said.py:\d+ keep", one.get("called_from", one["raised_at"]))


def test_where_libraries_raise_both_places_are_named() -> None:
    try:
        load(b"no graph")
    except Exception as error:
        record = logging.LogRecord(
            "service", logging.ERROR, "", 0, "failed", (), (type(error), error, error.__traceback__)
        )
        said = without_texts(None, "error", {"event": "failed", "_record": record, "exc_info": record.exc_info})
    (one,) = said["exception"]
    assert re.fullmatch(r"service/graph.py:\d+ _session", one["called_from"])
    assert "onnxruntime_inference_collection.py" in one["raised_at"]


def test_an_error_that_is_itself_the_message_is_named_by_its_kind() -> None:
    error = KeyError("5ecr3t")
    record = logging.LogRecord("library", logging.ERROR, "", 0, error, (), None)  # type: ignore[arg-type]
    said = without_texts(None, "error", {"event": str(error), "_record": record})
    assert said["event"] == "KeyError"


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", True),
        (f"01-{TRACE}-00f067aa0ba902b7-01-more", True),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", False),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", False),
        ("", False),
    ],
)
def test_a_trace_goes_on_where_it_is_well_formed(header: str, kept: bool) -> None:
    trace = trace_of(header)
    assert (trace.trace_id == TRACE) is kept
    assert re.fullmatch(r"[0-9a-f]{32}", trace.trace_id)
    assert re.fullmatch(r"[0-9a-f]{16}", trace.span_id)
