"""The override form: collects the fields, lets the API's own model judge them, says plainly what is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from nicegui import ui
from pydantic import ValidationError

from service.override_schemas import OverrideRequest
from service.planner.words import plain_errors
from service.series import Series

MODES = {"set": "set days", "at_least": "at least days", "add_units": "add units", "uplift": "uplift of demand"}
UNITS = {"set": "days", "at_least": "days", "add_units": "units", "uplift": "per cent"}


class OverrideForm:
    """One form for whichever series is chosen."""

    def __init__(self, submit: Callable[[OverrideRequest], Awaitable[None]], author: str) -> None:
        self._submit = submit
        self._series: Series | None = None
        with ui.element("section").classes("panel").props('aria-label="Override"') as self._panel:
            self._title = ui.label("Override").classes("panel-title")
            ui.label("For selling dates: every order that covers one of them follows the override.").classes("caption")
            with ui.element("div").classes("fields"):
                self._from = ui.input("From (selling date)").props("type=date stack-label dense outlined")
                self._to = ui.input("To (selling date)").props("type=date stack-label dense outlined")
                self._mode = ui.select(MODES, label="Mode", value="set", on_change=self._name_value).props(
                    "dense outlined options-dense"
                )
                self._value = ui.number("Value in days", min=0).props("dense outlined stack-label")
                self._reason = ui.input("Reason").props("dense outlined stack-label maxlength=500").classes("wide")
                self._author = ui.input("Author", value=author).props("dense outlined stack-label maxlength=100")
                self._button = ui.button("Store override", on_click=self._send).props("unelevated no-caps")
            self._message = ui.label().classes("message").props("role=status aria-live=polite")
        self._panel.set_visibility(False)

    def offer(self, series: Series, dates: tuple[date, date] | None) -> None:
        """Show the form for a series, with the dates that its present order covers."""
        self._series = series
        self._title.set_text(f"Override {series[0]} at {series[1]}")
        self._from.set_value(dates[0].isoformat() if dates else "")
        self._to.set_value(dates[1].isoformat() if dates else "")
        self._value.set_value(None)
        self._reason.set_value("")
        self._message.set_text("")
        self._panel.set_visibility(True)

    def say(self, text: str, *, wrong: bool) -> None:
        """Show a message under the form."""
        self._message.classes(add="wrong" if wrong else "right", remove="right" if wrong else "wrong")
        self._message.set_text(text)

    def _name_value(self) -> None:
        self._value.props(
            f'label="Value in {UNITS[self._mode.value]}" min={-100 if self._mode.value == "uplift" else 0}'
        )

    def _values(self) -> dict[str, Any]:
        assert self._series is not None
        return {
            "item_id": self._series[0], "location_id": self._series[1], "selling_from": self._from.value,
            "selling_to": self._to.value, "mode": self._mode.value, "value": self._value.value,
            "reason": (self._reason.value or "").strip(), "author": (self._author.value or "").strip(),
        }  # fmt: skip

    async def _send(self) -> None:
        try:
            body = OverrideRequest(**self._values())
        except ValidationError as error:
            self.say(f"Not stored. {plain_errors(error)}", wrong=True)
            return
        self._button.disable()
        try:
            await self._submit(body)
        finally:
            self._button.enable()
