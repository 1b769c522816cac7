"""What /openapi.json says: every field and parameter in words, with unit and example, and every error that can come."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import httpx
import pytest

import service.routes
from service.app import create_app
from service.planner.page import page_router
from service.problems import MEDIA_TYPE
from service.settings import Settings

Spec = dict[str, Any]
NUMBERS = ("number", "integer")
UNIT = re.compile(
    r"%|\b(units?|days|seconds|currency|share|per cent|number|nats|rows|series|paths|volume|1 yes, 0 no|0 to 1)\b",
    re.IGNORECASE,
)
WRITES = ("POST", "PUT", "PATCH", "DELETE")
WITHOUT_KEY = {  # writes that take no Idempotency-Key, and why they need none
    "POST /v1/recommendations": "the same question has the same answer and the same decision, by its content",
    "POST /v1/what-if": "nothing is stored",
    "POST /v1/overrides/preview": "nothing is stored",
}
ANY = {400, 401, 403, 429, 500, 503}  # of every route that takes a key: names, keys, scopes, quotas, bugs, overload


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    folder = tmp_path_factory.mktemp("openapi")
    app = create_app(Settings(database_url=f"sqlite:///{folder}/orpr.db", spool=folder / "spool.db"))
    made: Spec = app.openapi()
    app.state.features_cache.close()
    app.state.store.close()
    return made


def operations(spec: Spec) -> Iterator[tuple[str, Spec]]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def fields_of(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """Every property of every body, those of the feeds' rows too, and every parameter with its schema."""
    for name, schema in spec["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            yield f"{name}.{field}", told
    for name, operation in operations(spec):
        for parameter in operation.get("parameters", []):
            examples = parameter["schema"].get("examples", parameter.get("examples"))
            yield f"{name} {parameter['name']}", parameter["schema"] | parameter | {"examples": examples}
        rows = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        for field, told in rows.get("items", {}).get("properties", {}).items():
            yield f"{name} row {field}", told


def choices(told: Spec) -> list[Spec]:
    """What it may be, but null."""
    return [one for one in told.get("anyOf", [told]) if one.get("type") != "null"]


def said(told: Spec, key: str) -> Any:
    """Of the field itself, or of the one thing that it is where it may also be null."""
    return told.get(key) or next((one[key] for one in choices(told) if one.get(key)), None)


def is_of_bodies(told: Spec) -> bool:
    """Whether it holds what has fields of its own, whose examples are enough."""
    return any("$ref" in one or "$ref" in one.get("items", {}) for one in choices(told))


def test_every_field_is_described_and_has_an_example(spec: Spec) -> None:
    found = list(fields_of(spec))
    assert len(found) > 200
    assert [name for name, told in found if not said(told, "description")] == []
    assert [name for name, told in found if not is_of_bodies(told) and not said(told, "examples")] == []


def test_every_number_names_its_unit(spec: Spec) -> None:
    numbers = [
        (name, told) for name, told in fields_of(spec) if any(one.get("type") in NUMBERS for one in choices(told))
    ]
    assert len(numbers) > 60
    assert [name for name, told in numbers if not UNIT.search(said(told, "description") or "")] == []


def test_examples_are_what_the_field_may_be(spec: Spec) -> None:
    kinds = {"string": str, "number": (int, float), "integer": int, "boolean": bool, "array": list, "object": dict}
    for name, told in fields_of(spec):
        if is_of_bodies(told):
            continue
        for example in said(told, "examples") or []:
            may = [one for one in choices(told) if isinstance(example, kinds[one["type"]])]
            assert may or example is None, (name, example)
            for one in may:
                assert example in one.get("enum", [example]), (name, example)
                if isinstance(example, str):
                    assert re.search(one.get("pattern", ""), example), (name, example)
                    assert len(example) <= one.get("maxLength", len(example)), (name, example)
                if isinstance(example, int | float):
                    assert one.get("minimum", example) <= example <= one.get("maximum", example), (name, example)


def test_every_error_is_a_problem_document(spec: Spec) -> None:
    for name, operation in operations(spec):
        for status, response in operation["responses"].items():
            if int(status) >= HTTPStatus.BAD_REQUEST:
                assert list(response["content"]) == [MEDIA_TYPE], (name, status)
                reference = response["content"][MEDIA_TYPE]["schema"]["$ref"].removeprefix("#/components/schemas/")
                assert {"type", "title", "status", "detail"} <= set(
                    spec["components"]["schemas"][reference]["properties"]
                )
    assert "HTTPValidationError" not in spec["components"]["schemas"]


def expected(name: str, operation: Spec) -> set[int]:
    """Errors that follow from what an operation takes."""
    method, path = name.split()
    parameters = {one["name"] for one in operation.get("parameters", [])}
    found = set(ANY) if path.startswith("/v1") else {400, 500}
    if method != "GET":
        found |= {408, 413, 422}
    if parameters or "requestBody" in operation:
        found |= {422}
    if "{" in path or (path.endswith("/overrides") and method == "POST"):
        found |= {404}
    if "Idempotency-Key" in parameters:
        found |= {409}
    if "If-Match" in parameters:
        found |= {412, 428}
    if method == "PUT":
        found |= {415}
    return found


def test_every_operation_lists_the_errors_that_follow_from_what_it_takes(spec: Spec) -> None:
    missing = {
        name: sorted(found)
        for name, operation in operations(spec)
        if (found := expected(name, operation) - {int(status) for status in operation["responses"]})
    }
    assert missing == {}


def test_every_write_takes_an_idempotency_key_but_those_that_need_none(spec: Spec) -> None:
    """A caller may leave it out, and whoever sends it is told where it was used for another request."""
    writes = {name: operation for name, operation in operations(spec) if name.split()[0] in WRITES}
    keys = {
        name: [one for one in operation.get("parameters", []) if one["name"] == "Idempotency-Key"]
        for name, operation in writes.items()
    }
    assert {name for name, found in keys.items() if not found} == set(WITHOUT_KEY)
    assert len(keys) > len(WITHOUT_KEY) + 15
    for name, found in keys.items():
        assert all(one["in"] == "header" and not one["required"] for one in found), name
        assert not found or {"409", "422"} <= set(writes[name]["responses"]), name


def test_no_route_that_writes_is_left_out_but_those_of_the_login(spec: Spec) -> None:
    """A login makes a cookie and a logout drops it; neither stores anything."""
    documented = {name for name, _ in operations(spec)}
    modules = [import_module(f"service.routes.{found.name}") for found in iter_modules(service.routes.__path__)]
    routers = [module.router for module in modules if hasattr(module, "router")] + [page_router()]
    routes = [route for router in routers for route in router.routes]
    writing = {f"{method} {r.path_format}" for r in routes for method in r.methods if method in WRITES}
    assert len(writing & documented) > 20
    assert writing - documented == {"POST /login", "POST /logout"}


def test_every_operation_says_what_it_does(spec: Spec) -> None:
    for name, operation in operations(spec):
        assert operation.get("description"), name
        good = [status for status in operation["responses"] if status.startswith("2")]
        assert good, name
        assert all(operation["responses"][status].get("content") for status in good), name


async def test_a_process_that_is_not_ready_says_so_in_a_problem_document(tmp_path: Path) -> None:
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path}/orpr.db", spool=tmp_path / "spool.db"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as http:
        told = await http.get("/readyz")
    app.state.features_cache.close()
    app.state.store.close()
    assert (told.status_code, told.headers["Content-Type"]) == (503, MEDIA_TYPE)
    assert told.json()["type"] == "not-ready"
    assert (told.json()["ready"], told.json()["store"]) == (False, "no dataset is loaded")
