"""Threads of the process go on whatever goes wrong, and end when told to."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from service.repeating import Repeating


class Work:
    """Fails at first, with one error after the other, and then does what is asked of it."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.times, self.went_well = list(errors), 0, threading.Event()

    def __call__(self) -> None:
        self.times += 1
        if self.errors:
            raise self.errors.pop(0)
        self.went_well.set()


def test_it_goes_on_after_errors_and_logs_only_those_that_are_not_usual(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(TimeoutError("no answer"), ValueError("a bug"), TimeoutError("no answer"))
    repeating = Repeating("counting", work, 0.001, usual=(TimeoutError,))
    with caplog.at_level(logging.INFO):
        repeating.start()
        assert work.went_well.wait(10)
        repeating.stop()
    assert work.times >= 4
    assert [record.getMessage() for record in caplog.records] == ["counting failed"]
    assert repeating._thread is not None
    assert not repeating._thread.is_alive()


def test_it_does_nothing_before_its_start_and_after_its_end_and_starts_again() -> None:
    work = Work()
    repeating = Repeating("counting", work, 0.001)
    time.sleep(0.02)
    assert work.times == 0
    for _ in range(2):
        work.went_well.clear()
        repeating.start()
        assert work.went_well.wait(10)
        repeating.stop()
        done = work.times
        time.sleep(0.02)
        assert work.times == done


def test_it_is_done_once_more_at_the_end_where_that_is_asked_for() -> None:
    work = Work()
    repeating = Repeating("counting", work, 60.0, once_more=True)
    repeating.start()
    repeating.stop()
    assert work.times == 1


def test_an_end_waits_for_no_work_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.repeating.STOP_S", 0.05)
    hanging, free = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        free.wait(10)

    repeating = Repeating("hanging", hang, 0.001)
    repeating.start()
    assert hanging.wait(10)
    began = time.monotonic()
    repeating.stop()
    assert time.monotonic() - began < 5
    free.set()


def test_after_an_error_it_rests_and_an_end_cuts_the_rest_short() -> None:
    work = Work(ValueError("a bug"))
    repeating = Repeating("resting", work, 0.001, after_error_s=60.0)
    repeating.start()
    time.sleep(0.1)
    began = time.monotonic()
    repeating.stop()
    assert work.times == 1
    assert time.monotonic() - began < 5
