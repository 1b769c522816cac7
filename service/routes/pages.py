"""`/login` and `/logout`: an API key in, a signed cookie out. The planner page itself is `service.planner.page`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from service.auth import COOKIE, SESSION_S, Sessions, key_of
from service.keys import PLANNER
from service.planner.style import LOGIN

router = APIRouter(include_in_schema=False)
NO_STORE = {"Cache-Control": "no-store"}

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Log in – ORPR planner</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>
<body><main><h1>ORPR planner</h1><p>Log in with an API key of this installation.</p>
<form method="post" action="login"><label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="off" required autofocus{invalid}>
<button type="submit">Log in</button>{message}</form></main></body></html>
"""
_WRONG = '<p class="wrong" id="message" role="alert">This API key is not known, or no planner key. Check it and try again.</p>'


@router.get("/login")
def show_login() -> HTMLResponse:
    """The form."""
    return HTMLResponse(_PAGE.format(style=LOGIN, message="", invalid=""), headers=NO_STORE)


@router.post("/login")
def log_in(request: Request, key: Annotated[str, Form(max_length=500)] = "") -> Response:
    """Check the key; the browser then carries a cookie that scripts cannot read and other sites cannot send."""
    sessions: Sessions = request.app.state.sessions
    found = key_of(request.app.state.view, key.strip())
    if found is None or PLANNER not in found.scopes:
        invalid = ' aria-invalid="true" aria-describedby="message"'
        return HTMLResponse(_PAGE.format(style=LOGIN, message=_WRONG, invalid=invalid), 401, NO_STORE)
    response = RedirectResponse("./", 303, NO_STORE)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, sessions.issue(found), SESSION_S, httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/logout")
def log_out() -> Response:
    """Take the cookie back."""
    response = RedirectResponse("login", 303, NO_STORE)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
