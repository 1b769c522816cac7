"""One call to the service: a checked body out of an answer, or the problem that came in its place. Knows no route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel, ValidationError

from orpr.sending import Sender, json_of, one_line
from service.problems import Problem, RowError

PAGE = 500  # rows of one page, where the service does not allow more
Body = TypeVar("Body", bound=BaseModel)


class ServiceProblem(RuntimeError):
    """What the service answered in place of a result; its text is one line without a secret."""

    def __init__(self, call: str, problem: Problem) -> None:
        super().__init__(one_line(f"{call}: {problem.status} {problem.type}: {problem.detail}"))
        self.type: str = problem.type
        self.title: str = problem.title
        self.status: int = problem.status
        self.detail: str = problem.detail
        self.errors: list[RowError] = problem.errors or []


class Page(BaseModel):
    """One page of anything."""

    items: list[Any]
    next_cursor: str | None


class Calls:
    """What all calls have in common; each theme's calls inherit it."""

    _sender: Sender

    def _read(self, body: type[Body], method: str, path: str, **parts: Any) -> Body:
        return parsed(body, f"{method} {path}", self._ask(method, path, **parts))

    def _write(
        self, body: type[Body], method: str, path: str, key: str | None, headers: dict[str, str] | None = None,
        **parts: Any,
    ) -> Body:  # fmt: skip
        named = (headers or {}) | {"Idempotency-Key": key or uuid4().hex}
        return self._read(body, method, path, headers=named, **parts)

    def _pages(self, row: type[Body], path: str, matching: dict[str, Any], limit: int) -> Iterator[Body]:
        cursor: str | None = None
        given = {field: str(value) for field, value in matching.items()} | {"limit": str(limit)}
        while True:
            page = self._read(Page, "GET", path, params=given | ({"cursor": cursor} if cursor else {}))
            for one in page.items:
                yield parsed(row, f"GET {path}", one)
            if page.next_cursor is None:
                return
            if not page.items or page.next_cursor == cursor:
                raise ValueError(f"GET {path}: the answer is none of this service: its pages have no end")
            cursor = page.next_cursor

    def _ask(self, method: str, path: str, **parts: Any) -> Any:
        return json_of(self._answer(method, path, **parts))

    def _answer(self, method: str, path: str, **parts: Any) -> httpx.Response:
        response = self._sender.send(method, path, **parts)
        if not response.is_success:
            raise ServiceProblem(f"{method} {path}", _problem_of(response))
        return response


def parsed(body: type[Body], call: str, told: Any) -> Body:
    """An answer as the body that it should be.

    Raises:
        ValueError: where it is none; one line.
    """
    try:
        return body.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(one_line(f"{call}: the answer is none of this service: {where}: {first['msg']}")) from None


def json_body(body: BaseModel) -> Any:
    """A body as it is sent."""
    return body.model_dump(mode="json")


def segment(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")


def _problem_of(response: httpx.Response) -> Problem:
    """The problem document, or what can be said of an answer that is none, say a proxy's."""
    told = json_of(response)
    try:
        return Problem.model_validate(told)
    except ValidationError:
        title = response.reason_phrase
        return Problem(type="about:blank", title=title, status=response.status_code, detail=one_line(response.text))
