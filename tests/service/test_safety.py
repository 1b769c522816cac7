"""What the service refuses to start with, and what it says."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from service.app import create_app
from service.keys import Keys
from service.safety import UnsafeSettings, is_loopback
from service.settings import Settings
from service.store import Store

SECRET = "a-secret-of-eighteen"


@pytest.mark.parametrize(
    ("given", "host", "said"),
    [
        ({}, "0.0.0.0", "ORPR_TRANSPORT=tls"),
        ({}, "", "ORPR_TRANSPORT=tls"),
        ({}, "orpr.example.com", "ORPR_TRANSPORT=tls"),
        ({"transport": "tls"}, "0.0.0.0", "orpr key NAME"),
        ({"transport": "plain"}, "::", "orpr key NAME"),
        ({"session_secret": SECRET}, "127.0.0.1", "ORPR_SESSION_SECRET has 20 characters"),
        ({"hosts": "orpr.example.com,*"}, "127.0.0.1", "ORPR_HOSTS must name the hosts"),
        ({"origins": "*"}, "127.0.0.1", "ORPR_ORIGINS must hold sites"),
        ({"origins": "https://a.example, https://b.example/page"}, "127.0.0.1", "'https://b.example/page'"),
        ({"oidc_issuer": "https://id.example"}, "127.0.0.1", "ORPR_OIDC_AUDIENCE belong together"),
        ({"oidc_issuer": "http://id.example", "oidc_audience": "orpr"}, "127.0.0.1", "must be an https address"),
        ({"proxies": "*"}, "127.0.0.1", "ORPR_PROXIES must hold addresses"),
        ({"proxies": "127.0.0.1,0.0.0.0/0"}, "127.0.0.1", "ORPR_PROXIES must not be everybody"),
    ],
)
def test_it_does_not_start_when_unsafe(tmp_path: Path, given: dict[str, str], host: str, said: str) -> None:
    with pytest.raises(UnsafeSettings, match="the service does not start") as refused:
        create_app(Settings(database_url=f"sqlite:///{tmp_path}/orpr.db", **given), host)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


def test_every_reason_is_named_at_once(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/orpr.db", hosts="*", session_secret=SECRET)
    with pytest.raises(UnsafeSettings, match=r"ORPR_TRANSPORT.*ORPR_HOSTS.*ORPR_SESSION_SECRET"):
        create_app(settings, "0.0.0.0")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
def test_on_loopback_it_starts_without_settings(sqlite_url: str, host: str) -> None:
    assert is_loopback(host)
    create_app(Settings(database_url=sqlite_url), host).state.store.close()


@pytest.mark.parametrize("transport", ["tls", "plain"])
def test_beyond_loopback_it_starts_with_a_transport_and_a_key(sqlite_url: str, transport: str) -> None:
    store = Store(sqlite_url)
    Keys(store.database).add("erp")
    store.close()
    settings = Settings(database_url=sqlite_url, transport=transport, hosts="orpr.example.com", session_secret="x" * 32)
    create_app(settings, "0.0.0.0").state.store.close()


def test_any_host_will_do_without_the_planner_page(sqlite_url: str) -> None:
    create_app(Settings(database_url=sqlite_url, hosts="*", planner=False)).state.store.close()


def test_a_database_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "orpr.db"
    settings = Settings(database_url=f"sqlite:///{path}")
    settings.prepare()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    settings.prepare()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    store = Store(settings.database_url)
    store.dataset()
    assert [file.name for file in path.parent.iterdir() if file.stat().st_mode & 0o007] == []
    store.close()


def test_the_command_line_says_what_is_unsafe_and_ends_with_2(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from orpr.cli import main; main()", "serve", "--host", "0.0.0.0", "--port", "0"]
    environment = os.environ | {"ORPR_DATABASE_URL": f"sqlite:///{tmp_path}/orpr.db", "ORPR_SESSION_SECRET": SECRET}
    ended = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 2
    assert "ORPR_TRANSPORT=tls" in ended.stderr
    assert "ORPR_SESSION_SECRET has 20 characters" in ended.stderr
    assert SECRET not in ended.stderr
    assert "Traceback" not in ended.stderr
