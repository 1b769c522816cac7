"""What the caller of the importer may set: which column is which (`ColumnMap`), and the dials (`ImportSettings`).

Knows names and bounds. It does not know files' contents (`import_sources.py`) or what the rules do with a setting
(`importing.py` states them).
"""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from simulator.item_table import ITEM_FLOATS, ITEM_TEXTS, ITEM_WHOLE

MOST_DAYS = 3650  # the format takes no longer lead time or review period
TARGETS: dict[str, tuple[str, ...]] = {
    "sales": ("item_id", "location_id", "date", "quantity", "unit_price", "promotion", "category", "name"),
    "stock": ("item_id", "location_id", "date", "on_hand", "on_order"),
    "items": ("item_id", "location_id", *ITEM_TEXTS, *ITEM_FLOATS, *ITEM_WHOLE),
}
REQUIRED: dict[str, tuple[str, ...]] = {
    "sales": ("item_id", "date", "quantity"),
    "stock": ("item_id", "date", "on_hand"),
    "items": ("item_id",),
}


@dataclass(frozen=True)
class ColumnMap:
    """The caller's column names to ours, written `their = ours`.

    Pairs of `any_file` apply to every file that has the column and knows the target; pairs of `sales`, `stock` and
    `items` apply to that file only, win over `any_file`, and must be there. A column that already carries one of our
    names needs no pair.

    Raises:
        ValueError: if a target is none of ours; every such target is named.
    """

    any_file: Mapping[str, str] = field(default_factory=dict)
    sales: Mapping[str, str] = field(default_factory=dict)
    stock: Mapping[str, str] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        everywhere = tuple(dict.fromkeys(target for targets in TARGETS.values() for target in targets))
        for part, known in (("any_file", everywhere), *TARGETS.items()):
            unknown = [f"{theirs}={ours}" for theirs, ours in getattr(self, part).items() if ours not in known]
            if unknown:
                place = "" if part == "any_file" else f" of {part}"
                raise ValueError(f"map: unknown target in {', '.join(unknown)}; targets{place} are {', '.join(known)}")

    @classmethod
    def from_pairs(cls, pairs: Iterable[str]) -> ColumnMap:
        """From strings `their=ours`, or `sales.their=ours` (`stock.`, `items.`) where only that file is meant.

        Raises:
            ValueError: if a string has no `=`, if a column is given two targets, or if a target is none of ours.
        """
        parts: dict[str, dict[str, str]] = {"any_file": {}, **{kind: {} for kind in TARGETS}}
        for pair in pairs:
            theirs, equals, ours = (piece.strip() for piece in pair.rpartition("="))
            if not (theirs and equals and ours):
                raise ValueError(f"map: must be written their=ours, got {pair!r}")
            kind, dot, column = theirs.partition(".")
            part, theirs = (kind, column) if dot and kind in TARGETS else ("any_file", theirs)
            if parts[part].setdefault(theirs, ours) != ours:
                raise ValueError(f"map: column {theirs!r} is given two targets, {parts[part][theirs]} and {ours}")
        return cls(**parts)

    @classmethod
    def from_toml(cls, path: Path) -> ColumnMap:
        """From a TOML file: pairs `"their" = "ours"` at the top, or under `[sales]`, `[stock]`, `[items]`.

        Raises:
            ValueError: if the file is missing or not TOML, if a value is not text, or if a target is none of ours.
        """
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"map: there is no file {path}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"map: {path.name} is not TOML ({error})") from None
        tables = {key: value for key, value in raw.items() if isinstance(value, dict)}
        parts = {"any_file": {key: value for key, value in raw.items() if key not in tables}, **tables}
        strange = sorted(set(tables) - set(TARGETS))
        if strange:
            raise ValueError(
                f"map: unknown table [{'], ['.join(strange)}] in {path.name}; use [sales], [stock], [items]"
            )
        for theirs, ours in ((k, v) for part in parts.values() for k, v in part.items()):
            if not isinstance(ours, str):
                raise ValueError(f"map: {path.name} must give {theirs!r} a target as text, got {ours!r}")
        return cls(**parts)

    def updated(self, other: ColumnMap) -> ColumnMap:
        """This map with the pairs of `other` on top: flags over the file."""
        return ColumnMap(**{part: {**getattr(self, part), **getattr(other, part)} for part in ("any_file", *TARGETS)})


@dataclass(frozen=True)
class ImportSettings:
    """The dials of one import; rules that use them stand in `importing.py`.

    Raises:
        ValueError: naming the field, its bound and the value.
    """

    name: str  # of the dataset
    currency: str = "EUR"  # of every price and cost, unconverted
    quantity: str = "discrete"  # discrete: orders are whole units; continuous
    period_days: int = 1  # 1 daily, 7 weekly
    margin: float = 0.3  # share of the price, 0 < margin < 1; used where a cost is missing
    carrying_rate: float = 0.25  # of the unit cost, a year, > 0
    lead_time_days: int = 7  # where the items table has none
    review_period_days: int = 7  # where the items table has none
    return_days: int = 30  # how many days a return may be carried back, >= 0
    review_origin: date | None = None  # None: the first date of the sales
    promotion_known_ahead_days: int = 0
    location_id: str = "MAIN"  # of every row of a file that has no location column
    ignore_free_returns: bool = False  # True: negative lines at a price of 0 or less are write-offs, not returns
    source: str = ""  # written to dataset.json; empty: the sales file's name
    date_format: str | None = None  # strptime codes, such as %d.%m.%Y %H:%M; None: YYYY-MM-DD, a time may follow
    decimal_comma: bool = False  # True: 1.234,5 is one thousand two hundred thirty-four and a half
    separator: str = ","  # of CSV files
    encoding: str = "utf-8"  # of CSV files

    def __post_init__(self) -> None:
        for name in ("name", "location_id"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name}: must not be empty")
        if self.quantity not in {"discrete", "continuous"}:
            raise ValueError(f"quantity: must be discrete or continuous, got {self.quantity!r}")
        if self.period_days not in {1, 7}:
            raise ValueError(f"period_days: must be 1 or 7, got {self.period_days}")
        if not 0 < self.margin < 1:
            raise ValueError(f"margin: must lie between 0 and 1, got {self.margin}")
        if not 0 < self.carrying_rate <= 10:
            raise ValueError(f"carrying_rate: must be above 0 and at most 10 a year, got {self.carrying_rate}")
        least = {"lead_time_days": 1, "review_period_days": 1, "return_days": 0, "promotion_known_ahead_days": 0}
        for name, bound in least.items():
            if not bound <= getattr(self, name) <= MOST_DAYS:
                raise ValueError(f"{name}: must be from {bound} to {MOST_DAYS} days, got {getattr(self, name)}")
        if len(self.separator.encode()) != 1:
            raise ValueError(f"separator: must be one ASCII character, got {self.separator!r}")
        if self.date_format is not None and "%" not in self.date_format:
            raise ValueError(f"date_format: must be strptime codes such as %d.%m.%Y, got {self.date_format!r}")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError(f"encoding: is not known, got {self.encoding!r}") from None
