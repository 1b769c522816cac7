"""What a request may look like: values have the types that the document names, and answers say what a path takes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

PATH = "/v1/recommendations"
ITEM = {"item_id": "B101", "location_id": "S17", "on_hand": 3}
OVERRIDE = {
    "selling_from": "2019-05-01",
    "selling_to": "2019-05-20",
    "mode": "set",
    "value": 9,
    "reason": "r",
    "author": "a",
}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (PATH, {"items": [ITEM], "as_of": 0}, "as_of"),
        (PATH, {"items": [ITEM], "as_of": "2019-04-30T00:00:00"}, "as_of"),
        (PATH, {"items": [ITEM], "as_of": "20190430"}, "as_of"),
        (PATH, {"items": [ITEM], "as_of": "2019-02-30"}, "as_of"),
        (PATH, {"items": [ITEM], "record": "no"}, "record"),
        (PATH, {"items": [ITEM], "counterfactuals": 0}, "counterfactuals"),
        (PATH, {"items": [ITEM | {"on_hand": True}]}, "on_hand"),
        (PATH, {"items": [ITEM | {"on_hand": "3"}]}, "on_hand"),
        ("/v1/overrides", OVERRIDE | {"selling_from": 0}, "selling_from"),
        ("/v1/overrides", OVERRIDE | {"value": "9"}, "value"),
    ],
)
async def test_a_value_of_another_type_is_refused_by_name(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "request-invalid")
    assert field in answer.json()["errors"][0]["field"]


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/history", "from"), ("/v1/overrides", "selling_on"), ("/v1/decisions", "order_date"),
     ("/v1/recommendations/S17/B101", "as_of")],
)  # fmt: skip
@pytest.mark.parametrize("value", ["0", "1e9", "2019-05-01T10:00:00Z", "２０１９-05-01", "2019-13-01"])
async def test_a_number_or_a_moment_is_no_date(client: httpx.AsyncClient, path: str, name: str, value: str) -> None:
    answer = await client.get(path, params={name: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["detail"].startswith("Value error, must be a date, YYYY-MM-DD")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/v1/items", "GET, PUT"),
        ("PATCH", "/v1/overrides/bulk", "POST"),
        ("PUT", "/v1/overrides/3", "DELETE, GET, PATCH"),
        ("OPTIONS", "/v1/stops", "GET, POST"),
        ("POST", "/healthz", "GET"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_answered_with_all_that_it_takes(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert answer.headers["content-type"] == "application/problem+json"


async def test_metrics_are_documented_as_the_text_that_they_are(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert list(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]
