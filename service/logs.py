"""Logs: what happened, as lines of JSON; in a terminal as text.

A log names things and never says what was in them: no headers, bodies, query strings or paths, and of an error its kind and
where it happened, without its message, values or lines of code. Error messages are where passwords get into logs.
Everything in the process logs by Python's own `logging`; this module decides how it is written.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

LOG = logging.getLogger(__name__)
FIELDS = ("method", "route", "status", "duration_ms", "key")  # what our own lines may add
SERVICE = Path(__file__).parent
# Below these, libraries write URLs, what goes over the planner page's channel, and what nobody needs.
_LEAST = {"httpx": "WARNING", "httpcore": "WARNING", "alembic": "WARNING", "nicegui": "ERROR", "engineio": "ERROR",
          "socketio": "ERROR"}  # fmt: skip


def configure_logs(level: str) -> None:
    """Write all logs of this process to stdout.

    Args:
        level: the least that is written: debug, info, warning or error; debug is of our own only.
    """
    terminal = sys.stdout.isatty()
    ends: list[Processor] = (
        [_as_text, structlog.dev.ConsoleRenderer()] if terminal else [structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                _add_logger_name,
                structlog.stdlib.ExtraAdder(FIELDS),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[without_texts, ProcessorFormatter.remove_processors_meta, *ends],
            pass_foreign_args=True,
        )
    )
    for name in list(logging.root.manager.loggerDict):  # some libraries write to stderr on their own
        logging.getLogger(name).handlers.clear()
    for name, least in _LEAST.items():
        logging.getLogger(name).setLevel(least)
    ours = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(ours, logging.INFO), handlers=[handler], force=True)
    logging.getLogger("service").setLevel(ours)
    logging.captureWarnings(capture=True)
    threading.excepthook = _on_thread_end


def without_texts(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """Put kinds of errors in place of their texts, and `exception` in place of a traceback."""
    record: logging.LogRecord = event["_record"]
    given = event.pop("positional_args", ())
    if isinstance(record.msg, BaseException):
        event["event"] = type(record.msg).__name__
    elif isinstance(given, tuple) and any(isinstance(one, BaseException) for one in given):
        event["event"] = record.msg % tuple(
            type(one).__name__ if isinstance(one, BaseException) else one for one in given
        )
    raised = event.pop("exc_info", None)
    if isinstance(raised, tuple) and raised[1] is not None:
        chain = _chain(raised[1])
        event["exception"] = [{"type": _kind(error), **_place(error)} for error in chain]
        for error in chain:
            for text in filter(None, (repr(error), str(error))):
                event["event"] = str(event["event"]).replace(text, type(error).__name__)
    return event


def _add_logger_name(_logger: Any, _name: str, event: EventDict) -> EventDict:
    event["logger"] = event["_record"].name
    return event


def _chain(error: BaseException) -> list[BaseException]:
    """An error, what it came from, and the members of groups; the latest first."""
    found: list[BaseException] = []
    ahead: list[BaseException | None] = [error]
    while ahead:
        one = ahead.pop(0)
        if one is None or any(one is other for other in found):
            continue
        found.append(one)
        ahead += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        ahead.append(one.__cause__ or (None if one.__suppress_context__ else one.__context__))
    return found


def _kind(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _place(error: BaseException) -> dict[str, str]:
    """File, line and function where it was raised, and of our own code the innermost call that led there."""
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [place for place in frames if Path(place[0].co_filename).is_relative_to(SERVICE)]
    told = {"raised_at": frames[-1:], "called_from": ours[-1:]}
    named = {
        key: f"{_short(code.co_filename)}:{line} {code.co_name}" for key, found in told.items() for code, line in found
    }
    return named if len(set(named.values())) == len(named) else {"raised_at": named["raised_at"]}


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-2:])


def _as_text(_logger: Any, _name: str, event: EventDict) -> EventDict:
    if "exception" in event:
        event["exception"] = "\n".join("  ".join(one.values()) for one in event["exception"])
    return event


def _on_thread_end(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:
        LOG.error("a thread ended", exc_info=ended.exc_value)
