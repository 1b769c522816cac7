"""Page cursors: opaque to the caller, checked when they come back."""

from __future__ import annotations

import base64
import binascii
import json

from service.problems import ProblemError


def cursor_of(*place: str | int) -> str:
    """Where a page ended."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def place_of(cursor: str, kinds: tuple[type, ...]) -> list[str | int]:
    """The inverse of `cursor_of`.

    Raises:
        ProblemError: 422 where it is none of ours.
    """
    try:
        place = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
        if isinstance(place, list) and tuple(type(part) for part in place) == kinds:
            return place
    except (binascii.Error, ValueError):
        pass
    detail = f"cursor: {cursor!r} is none that this service gave out"
    raise ProblemError(422, "cursor-unknown", "The cursor is not known", detail)
