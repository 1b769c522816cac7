"""The documents say what the code has: settings, metrics, columns, commands, files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from service.decision_schemas import OutcomeRequest
from service.feed_schemas import CalendarRow, HistoryRow, InventoryRow, ItemRow, OpenOrderRow
from service.settings import Settings
from service.telemetry import Telemetry
from simulator.canonical import CALENDAR_COLUMNS
from simulator.demand_table import DEMAND_COLUMNS
from simulator.item_table import ITEM_FLOATS, ITEM_REQUIRED, ITEM_TEXTS

ROOT = Path(__file__).parents[2]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tracked() -> list[str]:
    run = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_every_setting_stands_in_the_documents() -> None:
    page = text_of("docs/settings.md")
    for name in Settings.model_fields:
        assert f"`ORPR_{name.upper()}`" in page, name


def test_no_table_of_the_documents_has_two_rows_of_one_name() -> None:
    for page in ("README.md", "docs/settings.md", "docs/format.md"):
        rows = re.findall(r"^\| (`.*?) \|", text_of(page), re.MULTILINE)
        names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
        assert len(names) > 8, page
        assert sorted(name for name in set(names) if names.count(name) > 1) == [], page


def test_every_metric_stands_in_the_documents() -> None:
    page = text_of("docs/settings.md")
    for metric in Telemetry().registry.collect():
        assert metric.name in page, metric.name


def test_every_column_stands_in_the_documents() -> None:
    page = text_of("docs/format.md")
    for column in {*ITEM_REQUIRED, *ITEM_TEXTS, *ITEM_FLOATS, *DEMAND_COLUMNS, *CALENDAR_COLUMNS}:
        assert f"`{column}`" in page, column


def test_every_field_of_the_feeds_and_of_outcomes_is_mapped_to_other_systems() -> None:
    rows = re.findall(r"^\| (`.*?)\|", text_of("docs/erp_fields.md"), re.MULTILINE)
    mapped = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    for model in (ItemRow, HistoryRow, InventoryRow, OpenOrderRow, CalendarRow, OutcomeRequest):
        assert set(model.model_fields) - mapped == set(), model.__name__


def test_every_table_of_other_systems_has_a_cell_for_each() -> None:
    tables = re.findall(r"^\| ours \|.*\n(?:\|.*\n)+", text_of("docs/erp_fields.md"), re.MULTILINE)
    assert len(tables) >= 9
    for table in tables:
        assert {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()} == {9}, table


def test_the_readme_maps_every_module_and_names_none_that_is_gone() -> None:
    readme = text_of("README.md")
    modules = [name for name in tracked() if re.fullmatch(r"(orpr|simulator|solver|training|service)/.*\.py", name)]
    for name in modules:
        if not name.endswith("__init__.py") and "/versions/" not in name:
            assert f"`{name}`" in readme, name
    for name in re.findall(r"`((?:orpr|simulator|solver|training|service)/[a-z_/]+\.py)`", readme):
        assert name in modules, name


def test_links_between_documents_lead_somewhere() -> None:
    for name in tracked():
        if name.endswith(".md"):
            for target in re.findall(r"\]\((?!http)([^)#]+)", text_of(name)):
                assert (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"
