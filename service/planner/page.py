"""The planner page: every series by urgency, one in depth, and the form that overrides it.

Everything that reads or writes runs in a thread and asks the session first, so a tab left open past the cookie's life
shows and changes nothing more. The page decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request
from nicegui import run, ui
from nicegui.events import GenericEventArguments
from starlette.datastructures import State

from service.auth import COOKIE, Sessions
from service.override_schemas import OverrideRequest, StoredOverride
from service.overrides import Overrides
from service.planner import words
from service.planner.chart import BACK_HEIGHT, back_option, chart_option, cost_option
from service.planner.form import OverrideForm
from service.planner.readings import Detail, Overview, key_of, read_back, read_detail, read_overview, series_of
from service.planner.style import PLANNER
from service.problems import ProblemError
from service.series import Series

P = ParamSpec("P")
R = TypeVar("R")
PLAIN_ROWS = 300  # longer tables draw only the rows in view
CONNECT_S = 60.0  # how long a rendered page may wait for its browser

_DAYS = "v => v === null ? '–' : v.toFixed(1)"
_UNITS = "v => v === null ? '–' : v.toLocaleString('en', {maximumFractionDigits: 1})"
COLUMNS: list[dict[Any, Any]] = [
    {"name": "item", "label": "Item", "field": "item", "align": "left", "sortable": True},
    {"name": "location", "label": "Location", "field": "location", "align": "left", "sortable": True},
    {"name": "cover", "label": "Cover, days", "field": "cover", ":format": _DAYS, "sortable": True},
    {
        "name": "days",
        "label": "Advised days",
        "field": "days",
        ":format": "v => v === null ? '–' : v",
        "sortable": True,
    },
    {"name": "range", "label": "10–90 %", "field": "range"},
    {"name": "order", "label": "Order, units", "field": "order", ":format": _UNITS, "sortable": True},
    {"name": "receipt", "label": "Arrives", "field": "receipt", "sortable": True},
    {"name": "review", "label": "Review", "field": "review", "align": "left"},
    {"name": "override", "label": "Override", "field": "override", "align": "left"},
]
_ITEM_CELL = """
<q-td :props="props"><button class="plain" type="button" :aria-current="props.row.chosen"
  :aria-label="'Show ' + props.row.item + ' at ' + props.row.location"
  @click.stop="$parent.$emit('choose', props.row.id)">{{ props.row.item }}</button></q-td>
"""


class PlannerPage:
    """What one browser tab shows."""

    def __init__(self, services: State, cookie: str | None, name: str) -> None:
        self._services, self._cookie, self._name = services, cookie, name
        self._chosen: str | None = None
        ui.add_css(PLANNER)
        ui.colors(primary="#2563a8")
        with ui.element("header").classes("bar"):
            ui.html("<h1>Planner</h1>", sanitize=False)
            self._state = ui.label("Reading the series …").classes("grow").props("role=status")
            with ui.element("form").props("method=post action=logout"):
                ui.html(f'<button class="plain" type="submit">Log out {escape(name)}</button>', sanitize=False)
        ui.on_exception(lambda: self._state.set_text("The service failed on this; the operators' log has the cause."))
        self._note = ui.label().classes("note")
        self._note.set_visibility(False)
        with ui.element("main").classes("columns"):
            with ui.element("section").classes("panel").props('aria-label="Series"'):
                self._build_table()
            with ui.element("div").classes("side"):
                with (
                    ui.element("section")
                    .classes("panel")
                    .props('aria-label="Chosen series" aria-live=polite') as self._detail
                ):
                    ui.label("Choose a series to see its sales, forecast, stock and order.").classes("caption")
                self._form = OverrideForm(self._submit, name)

    def _build_table(self) -> None:
        with ui.element("div").style("display: flex; align-items: center; gap: 12px"):
            ui.label("Series by urgency").classes("panel-title").style("flex: 1")
            search = ui.input("Find item or location").props("dense outlined clearable").style("width: 210px")
        ui.label(words.URGENCY).classes("caption")
        self._table = ui.table(rows=[], columns=COLUMNS, row_key="id", column_defaults={"align": "right"}, pagination=0)
        self._table.classes("series").props("dense flat hide-bottom binary-state-sort=false")
        self._table.props(""":table-row-class-fn="row => row.chosen ? 'chosen' : ''" """)
        self._table.add_slot("body-cell-item", _ITEM_CELL)
        self._table.on("choose", self._on_choose)
        self._table.on("rowClick", self._on_row, js_handler="(event, row) => emit(row.id)")
        search.bind_value_to(self._table, "filter")

    async def _on_choose(self, event: GenericEventArguments) -> None:
        await self._choose(str(event.args))

    async def _on_row(self, event: GenericEventArguments) -> None:
        await self._choose(str(event.args))

    async def _call(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Run blocking work in a thread for a caller whose session still holds; else send the browser to the login."""
        sessions: Sessions = self._services.sessions
        if await run.io_bound(sessions.key_of, self._cookie) is None:
            ui.navigate.to("login")
            return None
        return await run.io_bound(work, *args, **kwargs)

    async def load(self) -> None:
        """Read every series and fill the table."""
        try:
            overview = await self._call(read_overview, self._services)
        except ProblemError as error:
            self._state.set_text(f"{error.problem.title}. {error.problem.detail}")
            return
        if overview is not None:
            self._show_overview(overview)

    def _show_overview(self, overview: Overview) -> None:
        left_out = f", {overview.left_out} more are not shown" if overview.left_out else ""
        self._state.set_text(
            f"{overview.dataset}, {len(overview.rows)} series{left_out} · orders at the end of "
            f"{words.day(overview.as_of)} · policy {overview.policy_version}"
        )
        self._note.set_text(words.drawn_note(overview))
        self._note.set_visibility(True)
        if len(overview.rows) > PLAIN_ROWS:
            self._table.props("virtual-scroll")
        self._table.rows = [row | {"chosen": row["id"] == self._chosen} for row in overview.rows]

    async def _choose(self, key: str) -> None:
        self._chosen = key
        self._table.rows = [row | {"chosen": row["id"] == key} for row in self._table.rows]
        try:
            detail = await self._call(read_detail, self._services, series_of(key))
        except ProblemError as error:
            self._state.set_text(f"{error.problem.title}. {error.problem.detail}")
            return
        if detail is None or self._chosen != key:  # another series was chosen meanwhile
            return
        self._show_detail(detail)
        result = detail.answer.result
        self._form.offer(detail.series, (result.expected_receipt_date, result.covers_until) if result else None)

    def _show_detail(self, detail: Detail) -> None:
        self._detail.clear()
        result = detail.answer.result
        with self._detail:
            ui.label(words.action(detail)).classes("act")
            if result is None or detail.look is None:
                return
            ui.label(words.reason(result)).classes("why")
            for text in (words.overridden(result.override, result.policy_days) if result.override else "",
                         words.shortage(detail)):  # fmt: skip
                if text:
                    ui.label(text).classes("flag")
            ui.echart(chart_option(detail)).style("height: 300px; width: 100%; margin-top: 8px").props(
                'role=img aria-label="Sales of the last eight weeks, forecast and projected stock"'
            )
            if detail.costs is not None:
                ui.echart(cost_option(detail.costs)).style("height: 124px; width: 100%").props(
                    'role=img aria-label="Expected cost of the order by days of stock"'
                )
                ui.label(words.dearness(detail.costs)).classes("why")
            self._offer_to_look_back(detail.series)
            if detail.look.overrides:
                ui.label("Overrides from here on").classes("panel-title")
                for override in detail.look.overrides:
                    ui.label(words.planned(override)).classes("caption")
            if detail.past:
                ui.label("Past overrides, and what they earned here").classes("panel-title")
                for override, settlement in detail.past:
                    with ui.element("div").classes("past"):
                        ui.label(words.planned(override)).classes("caption")
                        ui.label(words.earned(settlement, detail.look.period_days)).classes("why")

    def _offer_to_look_back(self, series: Series) -> None:
        """A button: replays take a moment, and most planners look ahead."""
        with ui.element("div") as place:
            button = ui.button("Look back eight weeks").props("flat dense no-caps")

        async def look_back() -> None:
            button.disable()
            try:
                told = await self._call(read_back, self._services, series)
            except ProblemError as error:
                told, said = None, f"{error.problem.title}. {error.problem.detail}"
            else:
                said = ""
            if place.is_deleted:  # another series was chosen meanwhile
                return
            place.clear()
            with place:
                if told is None:
                    ui.label(said).classes("why")
                    return
                height = BACK_HEIGHT * len(told.policies)
                ui.echart(back_option(told)).style(f"height: {height}px; width: 100%; margin-top: 10px").props(
                    'role=img aria-label="Stock, demand and lost sales of the last eight weeks under each policy"'
                )
                ui.label(words.looked_back(told)).classes("why")

        button.on_click(look_back)

    async def _submit(self, body: OverrideRequest) -> None:
        """Store an override, then show what it changed."""
        try:
            stored = await self._call(_store, self._services, body, self._name)
            if stored is None or self._chosen is None:
                return
            detail = await self._call(read_detail, self._services, series_of(self._chosen))
        except ProblemError as error:
            self._form.say(f"{error.problem.title}. {error.problem.detail}", wrong=True)
            return
        if detail is not None and key_of(detail.series) == self._chosen:
            self._show_detail(detail)
            self._form.say(words.stored(stored, detail.answer.result), wrong=False)
        await self.load()


def _store(services: State, body: OverrideRequest, name: str) -> StoredOverride:
    rules: Overrides = services.overrides
    store = rules.creating([body], name)
    with services.store.database.writing() as connection:
        stored = store(connection)[0]
    services.telemetry.overrides.inc()
    return stored


def signed_in(request: Request) -> str:
    """The name in the page's cookie; a browser without a valid one is sent to the login before anything is made."""
    sessions: Sessions = request.app.state.sessions
    key = sessions.key_of(request.cookies.get(COOKIE))
    if key is None:
        raise HTTPException(303, "log in first", {"Location": f"{request.scope.get('root_path', '')}/login"})
    request.state.key = key.name
    return key.name


def page_router() -> APIRouter:
    """The route of the page; each app needs one of its own."""
    router = APIRouter()

    @ui.page("/", api_router=router, title="Planner – ORPR", include_in_schema=False)  # type: ignore[arg-type]
    async def planner(request: Request, name: Annotated[str, Depends(signed_in)]) -> None:
        page = PlannerPage(request.app.state, request.cookies.get(COOKIE), name)
        await ui.context.client.connected(CONNECT_S)
        await page.load()

    return router
