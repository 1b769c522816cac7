"""Starting the service: a dataset into the store, a key, a server, and for the demo what to try."""

from __future__ import annotations

import gc
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn

from orpr.progress import SCREEN
from orpr.provenance import folder_hash
from service.app import create_app
from service.keys import SCOPES, Keys
from service.loading import load_panel
from service.logs import configure_logs
from service.safety import refuse_unsafe
from service.settings import Settings
from service.store import Store
from simulator.canonical import read_panel

TURN_S = 0.0005  # that a thread may compute while another waits for its turn: ten times less than usual, or requests wait for chores
DEMO_KEY = Path(".orpr/demo-key")


def load_dataset(settings: Settings, data: Path, *, draw_stock: bool) -> None:
    """Put a canonical dataset into the store, unless the very same files are there already."""
    settings.prepare()
    store = Store(settings.database_url)
    try:
        fingerprint = folder_hash(data) + ("+drawn stock" if draw_stock else "")
        loaded = store.dataset()
        if loaded is None or loaded.fingerprint != fingerprint:
            load_panel(store, read_panel(data), fingerprint, draw_stock=draw_stock)
    finally:
        store.close()


def run_server(settings: Settings, host: str, port: int) -> None:
    """Serve until stopped."""
    configure_logs(settings.log_level)
    app = create_app(settings, host)
    gc.collect()
    sys.setswitchinterval(TURN_S)
    gc.freeze()  # what is there now stays: looking through it again and again makes single requests wait
    uvicorn.run(
        app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=5,
        forwarded_allow_ips=list(settings.proxies),
    )  # fmt: skip


def change_keys(settings: Settings, name: str, scopes: list[str] | None, days: int | None, *, revoke: bool) -> str:
    """Make a key and return it, or revoke those of a name and say how many.

    Raises:
        ValueError: for an unknown scope, or where there is nothing to revoke.
    """
    settings.prepare()
    store = Store(settings.database_url)
    try:
        keys = Keys(store.database)
        if not revoke:
            return keys.add(name, scopes or SCOPES, datetime.now(UTC) + timedelta(days=days) if days else None)
        ended = keys.revoke(name)
        if not ended:
            raise ValueError(f"no key of the name {name!r} is good")
        return f"{ended} key{'s' if ended > 1 else ''} of {name} revoked"
    finally:
        store.close()


def demo_key(settings: Settings) -> str:
    """The key of this installation's demo: made at random the first time, kept in a file that only its owner reads."""
    store = Store(settings.database_url)
    keys = Keys(store.database)
    try:
        if DEMO_KEY.is_file():
            key = DEMO_KEY.read_text(encoding="utf-8").strip()
            if keys.is_good(key):
                return key
        key = keys.add("demo")
        DEMO_KEY.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(DEMO_KEY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(key + "\n")
        return key
    finally:
        store.close()


def run_demo(settings: Settings, sample: Path, host: str, port: int) -> None:
    """Load the sample into a database of its own, print what to try, serve."""
    refuse_unsafe(settings, host)
    if "database_url" not in settings.model_fields_set:
        settings = settings.model_copy(update={"database_url": "sqlite:///.orpr/demo.db"})
    load_dataset(settings, sample, draw_stock=True)
    key = demo_key(settings)
    base = f"http://{host}:{port}"
    SCREEN.print(
        f"""
ORPR serves a German bakery chain: 84 series, policy and sample from this repository.
Costs, lead times and opening stock of the sample are drawn; its sales, promotions and holidays are real.

  planner page   {base}/
  API            {base}/docs
  metrics        {base}/metrics
  demo API key   {key}

Try:
  curl -s -H 'X-API-Key: {key}' {base}/v1/recommendations/S17/B101

Stop with Ctrl+C.""",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    run_server(settings, host, port)
