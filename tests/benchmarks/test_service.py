"""The benchmark of the service still runs, and its arithmetic holds. No speed is asserted."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.service import load
from tests.benchmarks.service.__main__ import main
from tests.benchmarks.service.faults import Fault, environment, read
from tests.benchmarks.service.load import Generator, Plan, run
from tests.benchmarks.service.measure import AGAIN, ALONE, BARE, FRESH, GROUPS, NEW, Row, draw, rounded
from tests.benchmarks.service.page import comparison, ratios
from tests.benchmarks.service.servers import OURS, taking_part
from tests.benchmarks.service.soak import main as soak
from tests.benchmarks.service.soak import slope

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
STALL_S = 0.4


@contextmanager
def answering(answer: bytes, stall_s: float = 0.0, patience_s: float = 60.0) -> Iterator[int]:
    """A server that takes its time once, before its first answer, and breaks off where a connection was idle for longer than
    its patience; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection: socket.socket, wait: float) -> None:
            with connection:
                said = time.monotonic()
                while connection.recv(65536) and time.monotonic() - said < patience_s:
                    time.sleep(wait)
                    wait = 0.0
                    connection.sendall(answer[:20])
                    connection.sendall(answer[20:])
                    said = time.monotonic()

        def accept() -> None:
            wait = stall_s
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection, wait), daemon=True).start()
                wait = 0.0

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_whoever_waits_in_line_behind_a_slow_answer_is_counted_from_when_they_came() -> None:
    arrivals = [0.0, 0.05, 0.10, 0.15]
    with answering(ANSWER, STALL_S) as port:
        heard = run(Plan(port, "/", {}, ["{}"], arrivals, connections=1))
    assert all(took >= STALL_S - due for took, due in zip(heard.seconds, arrivals, strict=True))
    assert max(heard.late) < STALL_S  # waiting for a connection is not the generator's own delay
    assert heard.statuses == {"200": 4}


def test_without_arrivals_each_connection_asks_again_as_soon_as_it_is_answered() -> None:
    with answering(ANSWER) as port:
        assert len(run(Plan(port, "/", {}, ["{}"], [], 0.2, 2)).seconds) > 2
        assert len(run(Plan(port, "/", {}, ["{}"] * 3, [], 60.0, 2, once=True)).seconds) == 3


def test_a_connection_that_was_idle_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "IDLE_S", 0.2)
    with answering(ANSWER, patience_s=0.3) as port:
        assert load.run(Plan(port, "/", {}, ["{}"], [0.0, 0.6, 0.65], connections=1)).statuses == {"200": 3}


def test_an_answer_that_is_not_good_ends_the_run() -> None:
    with (
        answering(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n") as port,
        Generator() as generator,
        pytest.raises(RuntimeError, match="503"),
    ):
        generator.run(Plan(port, "/", {}, ["{}"], [0.0]))


def test_arrivals_come_at_the_stated_rate_and_the_same_for_all() -> None:
    arrivals = draw(50.0, 40.0, seed=3)
    assert len(arrivals) / arrivals[-1] == pytest.approx(50.0, rel=0.1)
    assert arrivals == draw(50.0, 40.0, seed=3)
    assert [rounded(rate) for rate in (123.4, 99.9, 0.0567, 7.0)] == [120.0, 99.0, 0.056, 7.0]


def made_row(who: str, how: str, group: str, p50: float, p99: float, answers: int = 500) -> Row:
    return Row(1, group, who, how, 10.0, answers, p50, p99, p99, p99, 0.0, 1 / p50, [p50])


def test_the_page_divides_by_the_bare_run_of_the_same_group() -> None:
    rows = [
        made_row(BARE, NEW, "features ready", 0.001, 0.002), made_row(OURS, NEW, "features ready", 0.003, 0.008),
        made_row(OURS, AGAIN, "features ready", 0.0015, 0.004, answers=20),
        made_row(BARE, NEW, "cold", 0.002, 0.004), made_row(OURS, FRESH, "cold", 0.02, 0.04),
        made_row("FastAPI", NEW, "cold", 0.03, 0.12),
        made_row(BARE, NEW, ALONE, 0.004, 0.004), made_row(OURS, NEW, ALONE, 0.006, 0.006),
    ]  # fmt: skip
    lines = ratios(rows)
    assert "| 1 | new question | Valkey | 3.00 | ≤ 3 | 4.00 | ≤ 6 | 8.00 | 500 |" in lines
    assert "| 1 | the same question again | Valkey | 1.50 (1.50 ms) | ≤ 2 ms | – |  | – | 20 |" in lines
    assert "| 1 | new question, nothing cached | Valkey | 10.00 | ≤ 3 | 10.00 | ≤ 6 | 20.00 | 500 |" in lines
    assert "| 1 | new question, nobody else asks | Valkey | 1.50 |  | 1.50 |  | 1.50 | 500 |" in lines  # and no aim
    assert "| 1 | FastAPI | new question, nothing cached | 1.50 | 3.00 | 1.50 |" in comparison(rows)


def test_a_quick_run_measures_everybody_who_is_installed(tmp_path: Path) -> None:
    main([str(tmp_path), "--quick"])
    rows = [Row(**row) for row in json.loads((tmp_path / "service.json").read_text(encoding="utf-8"))["rows"]]
    assert {row.who for row in rows} == {BARE, OURS, "orpr, cache in process", *taking_part()}
    assert all(0 < row.p50 <= row.p90 <= row.p99 <= row.longest and row.throughput > 0 for row in rows)
    assert {row.rate for row in rows if row.series == 20 and row.group in ("cold", ALONE)} == {0.0}
    there = [who for who, _ in GROUPS[ALONE] if who in {row.who for row in rows}]
    assert [(row.who, row.answers) for row in rows if row.group == ALONE] == [(who, 4) for who in there]
    text = (tmp_path / "service.md").read_text(encoding="utf-8")
    assert all(f"| {row.who} |" in text for row in rows)
    assert (tmp_path / "service.png").read_bytes().startswith(b"\x89PNG")


def test_a_short_soak_sends_everything_and_nothing_fails(tmp_path: Path) -> None:
    soak([str(tmp_path), "--minutes", "0.4", "--every", "2", "--shops", "1"])
    found = json.loads((tmp_path / "service-soak.json").read_text(encoding="utf-8"))
    assert found["failed"] == {}, found["log_errors"]
    assert {"feeds", "nightly batches", "questions about one series", "overrides written"} <= set(found["requests"])
    assert len(found["samples"]) == 12
    assert all(one["rss_mb"] > 50 and one["threads"] > 1 for one in found["samples"])
    assert "MB an hour" in (tmp_path / "service.md").read_text(encoding="utf-8")


def test_the_slope_of_memory_is_found_and_its_interval_holds_it() -> None:
    noise = np.random.default_rng(1).normal(0, 2, 180)
    samples = [{"minute": n / 6, "rss_mb": 300 + 60 * n / 360 + noise[n]} for n in range(180)]
    found = slope(samples)
    assert found["low"] < 60 < found["high"]
    assert found["low"] > 0
    assert found["minutes"] == pytest.approx(15, abs=0.2)


def test_the_fault_tests_run_at_full_size_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORPR_FAULT_OVERLOAD_S", raising=False)
    told = environment(10_000)
    assert (told["ORPR_FAULT_WRITES"], told["ORPR_FAULT_OVERLOAD_S"]) == ("10000", "30")
    monkeypatch.setenv("ORPR_FAULT_OVERLOAD_S", "5")
    assert environment(10_000)["ORPR_FAULT_OVERLOAD_S"] == "5"


def test_counts_of_fault_tests_become_rows(tmp_path: Path) -> None:
    (tmp_path / "one.xml").write_text(
        '<testsuites><testsuite tests="3" failures="1" errors="0" time="2.5"><properties>'
        '<property name="fault: kill -9" value="10 written; 2 withdrawn; 0 lost"/><property name="other" value="x"/>'
        "</properties></testsuite></testsuites>"
    )
    found = read(tmp_path / "one.xml")
    assert found.rows == [Fault("kill -9", "10 written; 2 withdrawn", "0 lost")]
    assert (found.tests, found.failed, found.seconds) == (3, 1, 2.5)
    (tmp_path / "bad.xml").write_text(
        '<testsuite><properties><property name="fault: x" value="much"/></properties></testsuite>'
    )
    with pytest.raises(ValueError, match="fault: x"):
        read(tmp_path / "bad.xml")
