"""Page cursors: opaque to the caller, checked when they come back."""

from __future__ import annotations

import base64
import binascii
import json

from service.problems import ProblemError

MOST = 2**63  # whole numbers from here on fit into no column


def cursor_of(*place: str | int) -> str:
    """Where a page ended."""
    return base64.urlsafe_b64encode(json.dumps(place, ensure_ascii=False).encode()).decode()


def place_of(cursor: str, kinds: tuple[type, ...]) -> list[str | int]:
    """The inverse of `cursor_of`.

    Raises:
        ProblemError: 422 where it is none of ours.
    """
    try:
        place = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
        whole = isinstance(place, list) and tuple(type(part) for part in place) == kinds
        if whole and all(abs(part) < MOST if isinstance(part, int) else part.encode() is not None for part in place):
            return list(place)
    except (binascii.Error, ValueError, RecursionError):
        pass
    raise unknown_cursor(cursor)


def unknown_cursor(cursor: str) -> ProblemError:
    """The error for a cursor that is none of ours."""
    detail = f"cursor: {cursor!r} is none that this service gave out"
    return ProblemError(422, "cursor-unknown", "The cursor is not known", detail)
