"""Errors as RFC 9457 problem documents, in one place. No traceback reaches a user."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service.database import UNANSWERED

LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 100
STORE_RETRY_S = 2
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class RowError(BaseModel):
    """What is wrong with one row or field of a request."""

    row: int | None = Field(None, description="Number of its place in the request's list, from 0.", examples=[3])
    field: str = Field(description="Its name in the request.", examples=["value"])
    detail: str = Field(
        description="What is wrong, and what was received.", examples=["must be a number of at least 0, got -3"]
    )


class Problem(BaseModel):
    """What went wrong, for people and programs."""

    type: str = Field(description="Stable name of the kind of problem.", examples=["stock-missing"])
    title: str = Field(description="The kind in words.", examples=["No stock is known"])
    status: int = Field(description="Number of the HTTP status.", examples=[422])
    detail: str = Field(
        description="This case: the field, its value, what would be right.",
        examples=["on_hand: no stock of 2019-04-30 is stored; send it in the request"],
    )
    errors: list[RowError] | None = Field(None, description="Every part that is wrong, at most 100.")


class ProblemError(Exception):
    """Raised anywhere in the service; becomes the response."""

    def __init__(
        self, status: int, kind: str, title: str, detail: str, errors: list[RowError] | None = None, *,
        retry_after_s: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(detail)
        listed = errors[:MOST_ERRORS] if errors else None
        self.problem = Problem(type=kind, title=title, status=status, detail=detail, errors=listed)
        self.retry_after_s = retry_after_s

    def response(self) -> JSONResponse:
        """The problem document."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        if self.problem.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return _response(self.problem, headers)


def store_unavailable(detail: str, title: str = "The database does not answer") -> ProblemError:
    """A 503 that says when to come back."""
    return ProblemError(503, "store-unavailable", title, detail, retry_after_s=STORE_RETRY_S)


def _response(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(problem.model_dump(exclude_none=True), problem.status, headers, media_type=MEDIA_TYPE)


async def _on_problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return error.response()


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    errors = [_row_error(one) for one in found[:MOST_ERRORS]]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    where = ".".join(str(part) for part in found[0]["loc"])
    detail = f"{where}: {errors[0].detail}{more}"
    title = "The request is not valid"
    return _response(Problem(type="request-invalid", title=title, status=422, detail=detail, errors=errors))


def _row_error(error: dict[str, Any]) -> RowError:
    place = list(error["loc"])
    row = next((part for part in place if isinstance(part, int)), None)
    field = ".".join(str(part) for part in place[1:] if part != row) or str(place[0])
    value = "" if error["type"] in ("missing", "json_invalid") else f", got {str(error.get('input'))[:80]!r}"
    return RowError(row=row, field=field, detail=f"{error['msg']}{value}")


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    title = HTTPStatus(error.status_code).phrase
    problem = Problem(
        type=title.lower().replace(" ", "-"), title=title, status=error.status_code, detail=str(error.detail)
    )
    return _response(problem, headers)


def _allowed(request: Request) -> list[str]:
    """The methods that some route takes at the request's path; the router itself names those of the first one only."""
    asked = [(method, {**request.scope, "method": method}) for method in METHODS]
    routes = request.app.router.routes
    return [method for method, scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes)]


async def _on_unstorable(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DataError)
    detail = "a value cannot be stored: a text with a NUL character, or a number that is too large"
    return _response(Problem(type="value-unstorable", title="A value cannot be stored", status=422, detail=detail))


async def _on_store_down(_request: Request, error: Exception) -> JSONResponse:
    LOG.error("the database does not answer (%s)", type(error).__name__)
    detail = "Nothing was stored; send the request again in a moment, a write with the same Idempotency-Key."
    return store_unavailable(detail).response()


def answer_to(error: Exception) -> JSONResponse:
    """The answer to an error that no route and no handler has dealt with; all but problems are bugs, and logged."""
    if isinstance(error, ProblemError):
        return error.response()
    LOG.error("unhandled error", exc_info=error)
    detail = "The service failed on this request; the operators' log has the cause."
    return _response(Problem(type="internal-error", title="Internal error", status=500, detail=detail))


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of the app's routes a problem document; `service.middleware` does the same for all others."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(DataError, _on_unstorable)
    for down in UNANSWERED:
        app.add_exception_handler(down, _on_store_down)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of the errors a route may answer with."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}
