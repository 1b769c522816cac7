"""Puts the planner on the service's app: its page, NiceGUI's files, and a websocket only for those logged in.

NiceGUI is one app per process; several services in one process share it. It answers nothing but its own paths, so the
API's routes and its problem documents stay as they are.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import cache

from fastapi import FastAPI
from nicegui import ui
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import URLPath
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from service.auth import COOKIE, Sessions
from service.planner.page import page_router

FILES, CHANNEL = "/_nicegui/", "/_nicegui_ws/"


@cache
def _shell() -> FastAPI:
    """The app around NiceGUI's, configured once a process."""
    shell = FastAPI(openapi_url=None)
    ui.run_with(shell, title="ORPR", language="en-GB", dark=False, tailwind=False, show_welcome_message=False)
    return shell


class PlannerFiles(BaseRoute):
    """NiceGUI's own paths: files for anyone, the channel for a valid cookie."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] in ("http", "websocket"):
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if path.startswith((FILES, CHANNEL)):
                return Match.FULL, {"endpoint": self.handle}
        return Match.NONE, {}

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not path.startswith(CHANNEL) or await self._logged_in(scope):
            await _shell()(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, "log in first")(scope, receive, send)
        else:
            await PlainTextResponse("log in first", 401)(scope, receive, send)

    async def _logged_in(self, scope: Scope) -> bool:
        key = await run_in_threadpool(self._sessions.key_of, HTTPConnection(scope).cookies.get(COOKIE))
        return key is not None


def mount_planner(app: FastAPI) -> None:
    """Add the page and what it needs. `app.state` must hold the store, the recommender and the sessions."""
    app.include_router(page_router())
    app.router.routes.append(PlannerFiles(app.state.sessions))


def planner_running() -> AbstractAsyncContextManager[object]:
    """NiceGUI's own start and stop, for the app's lifespan."""
    shell = _shell()
    return shell.router.lifespan_context(shell)
