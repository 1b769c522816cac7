"""What stand-in ERPs share: an HTTP server over records in memory whose answers can be lost."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.servers import Answer, Asked, Server

Row = dict[str, Any]
MOMENT = "%Y-%m-%d %H:%M:%S"


class Refusal(Exception):
    """Becomes an error answer: its status, the exception's name in the ERP, and what it says."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status, self.name, self.message = status, name, message


class Site(Server):
    """Subclasses answer. `lose` is the number of writes that are done and whose answers are lost."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.calls: list[str] = []
        self.lose = 0

    def _answer(self, asked: Asked) -> Answer | None:
        self.calls.append(f"{asked.method} {unquote(urlsplit(asked.path).path)}")
        try:
            status, told = 200, self.answer(asked.method, asked.path, asked.headers, asked.body)
        except Refusal as refusal:
            status, told = refusal.status, self.error(refusal)
        if self.lose and status == 200 and self.writes(asked.method, asked.path):
            self.lose -= 1
            return None
        return Answer(status, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        raise NotImplementedError

    def error(self, refusal: Refusal) -> Any:
        raise NotImplementedError

    def writes(self, method: str, path: str) -> bool:
        raise NotImplementedError


def compared(found: Any, operator: str, value: Any) -> bool:
    """Whether a field meets one condition, as SQL would say."""
    if operator in ("=", "!=", "in", "not in"):
        same = found in value if "in" in operator else found == value
        return same if operator in ("=", "in") else not same
    if operator in ("like", "ilike"):
        pattern = ".*".join(re.escape(part) for part in str(value).split("%"))
        whole = "%" in str(value)
        return bool(found) and bool((re.fullmatch if whole else re.search)(pattern, str(found)))
    if found is None or found is False:
        return False
    return bool({"<": found < value, "<=": found <= value, ">": found > value, ">=": found >= value}[operator])
