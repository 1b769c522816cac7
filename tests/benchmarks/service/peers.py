"""What ORPR is compared with: the same decision behind LitServe and behind a plain FastAPI app, each in a process of its own.

`python -m tests.benchmarks.service.peers FRAMEWORK SOURCE ...` serves on a port. SOURCE says where features come from:

- `sql`: read from the same database for each request and made by the simulator's observation code, without a cache;
- `memory`: made beforehand, all of them; a request only looks them up. Nobody can have it easier.

Neither checks keys, counts requests, follows overrides or remembers what it said. `noop` answers without deciding: what
remains is the HTTP server and the load generator.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from service.bundle import resolve_bundle
from service.store import Store
from simulator.canonical import assemble, read_panel
from simulator.observation import Observation, ObservationSpec, Observer, with_state
from simulator.ordering import OrderRules, constrain, raw_order_quantity, rules_of
from simulator.panel import F64, Panel
from simulator.step import State
from tests.benchmarks.service.whole import WholePolicy

PATH = "/predict"
Seen = Callable[[list[tuple[str, str]], date | None], tuple[Observation, OrderRules]]


def from_memory(data: Path, spec: ObservationSpec) -> Seen:
    """Features and rules of every series at the last recorded day, made once."""
    panel = read_panel(data)
    observation = Observer(panel, spec).observe(
        np.arange(panel.series_count), np.full(panel.series_count, panel.last_recorded)
    )
    rules = rules_of(panel, on=panel.date_of(panel.last_recorded))
    places = {key: n for n, key in enumerate(zip(panel.items.item_id, panel.items.location_id, strict=True))}

    def seen(series: list[tuple[str, str]], _as_of: date | None) -> tuple[Observation, OrderRules]:
        rows = np.array([places[key] for key in series])
        return {name: column[rows] for name, column in observation.items()}, rules.take(rows)

    return seen


def from_sql(database_url: str, spec: ObservationSpec) -> Seen:
    """Features and rules read for every request: the series, those of their category at their location, a year back."""
    store = Store(database_url)
    dataset = store.dataset()
    assert dataset is not None
    settings = dataset.settings | {"review_origin": date.fromisoformat(dataset.settings["review_origin"])}

    def panel_at(series: list[tuple[str, str]], day: date) -> Panel:
        first = day - timedelta(days=(spec.history + 1) * spec.period_days)
        last = day + timedelta(days=spec.horizon * spec.period_days)
        items = store.peers(series)
        near = list(items.select("item_id", "location_id").iter_rows())
        calendar = store.calendar_days(sorted({place for _, place in near}), first, last)
        return assemble(settings, items, store.sales(near, first, last), calendar)

    def seen(series: list[tuple[str, str]], as_of: date | None) -> tuple[Observation, OrderRules]:
        day = as_of or dataset.last_recorded
        assert day is not None
        panel = panel_at(series, day)
        places = {key: n for n, key in enumerate(zip(panel.items.item_id, panel.items.location_id, strict=True))}
        rows = np.array([places[key] for key in series])
        observation = Observer(panel, spec).observe(rows, np.full(len(rows), panel.period_of(day)))
        return observation, rules_of(panel, on=day).take(rows)

    return seen


class Decider:
    """From a request body to an answer body, in three steps."""

    def __init__(self, source: str, data: Path, database_url: str) -> None:
        self.policy = WholePolicy(resolve_bundle("champion", 1))
        spec = self.policy.spec
        self._seen = from_memory(data, spec) if source == "memory" else from_sql(database_url, spec)

    def decode(self, body: dict[str, Any]) -> dict[str, Any]:
        """Features, stock and rules of what is asked about."""
        items = body["items"]
        as_of = date.fromisoformat(body["as_of"]) if "as_of" in body else None
        observation, rules = self._seen([(item["item_id"], item["location_id"]) for item in items], as_of)
        on_hand = np.array([item["on_hand"] for item in items])
        coming = np.zeros((len(items), self.policy.spec.horizon))  # the questions name no open orders
        state = State(on_hand, coming)
        return {
            "items": items, "on_hand": on_hand, "rules": rules,
            "observation": with_state(observation, self.policy.spec, state),
        }  # fmt: skip

    def predict(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The whole network, run in the same chunks as by the service."""
        answer = self.policy.answer(asked.pop("observation"))
        rate = answer.daily_rate.astype(np.float64)
        return asked | {"days": answer.inventory_days.astype(np.float64), "rate": rate}

    def encode(self, told: dict[str, Any]) -> dict[str, Any]:
        """Orders under the items' rules."""
        rate: F64 = told["rate"]
        target, on_hand = told["days"] * rate, told["on_hand"]
        raw = raw_order_quantity(target, on_hand, self.policy.ordering_mode)
        ordered = constrain(raw, on_hand, told["rules"], rate).order_quantity
        columns = zip(
            told["items"], told["days"].tolist(), rate.tolist(), target.tolist(), ordered.tolist(), strict=True
        )
        names = ("inventory_days", "daily_rate", "target_stock", "order_quantity")
        return {
            "items": [
                {
                    "item_id": item["item_id"],
                    "location_id": item["location_id"],
                    **dict(zip(names, numbers, strict=True)),
                }
                for item, *numbers in columns
            ]
        }


def serve_fastapi(decider: Decider, port: int) -> None:
    """A plain app: one route in FastAPI's thread pool."""
    import uvicorn
    from fastapi import Body, FastAPI
    from fastapi.responses import JSONResponse

    app = FastAPI()

    @app.post(PATH)
    def predict(body: dict[str, Any] = Body()) -> JSONResponse:  # noqa: B008 - FastAPI's way
        return JSONResponse(decider.encode(decider.predict(decider.decode(body))))

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def serve_noop(port: int) -> None:
    """The HTTP server alone: reads the request, answers with nothing decided."""
    import uvicorn

    async def app(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def serve_litserve(source: str, data: Path, database_url: str, port: int) -> None:
    """One worker, and its faster queue."""
    import litserve

    from tests.benchmarks.service.lit_api import DecisionAPI

    server = litserve.LitServer(
        DecisionAPI(source, data, database_url), accelerator="cpu", devices=1, workers_per_device=1, timeout=False,
        fast_queue=True,
    )  # fmt: skip
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("framework", choices=("fastapi", "litserve", "noop"))
    parser.add_argument("source", choices=("sql", "memory"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args(arguments)
    if asked.framework == "noop":
        serve_noop(asked.port)
    elif asked.framework == "fastapi":
        serve_fastapi(Decider(asked.source, asked.data, asked.database_url), asked.port)
    else:
        serve_litserve(asked.source, asked.data, asked.database_url, asked.port)


if __name__ == "__main__":
    main()
