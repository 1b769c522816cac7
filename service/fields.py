"""Fields that stand in several bodies, described once."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated

from pydantic import BeforeValidator, Field

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _day(given: object) -> object:
    """A text as a date; left to itself pydantic takes 0 for the first of January 1970, and a moment for its day."""
    if not isinstance(given, str):
        return given
    try:
        if _DAY.fullmatch(given):
            return date.fromisoformat(given)
    except ValueError:
        pass
    raise ValueError("must be a date, YYYY-MM-DD")


def _moment(given: object) -> object:
    """A text as a moment; a number of seconds is none."""
    if not isinstance(given, str):
        return given
    try:
        if _DAY.match(given) and "T" in given:
            return datetime.fromisoformat(given)
    except ValueError:
        pass
    raise ValueError("must be a date and a time, YYYY-MM-DDTHH:MM:SS, with or without an offset")


GivenMoment = Annotated[datetime, BeforeValidator(_moment)]
GivenDay = Annotated[date, BeforeValidator(_day)]  # in a request
Item = Annotated[str, Field(description="The SKU.", examples=["B101"])]
Place = Annotated[str, Field(description="The DC or store.", examples=["S17"])]
AsOf = Annotated[
    date,
    Field(
        description="The day at whose end orders are placed; of a longer period its first day.", examples=["2019-04-30"]
    ),
]
Day = Annotated[date, Field(description="The day; of a longer period its first.", examples=["2019-05-03"])]
ReceiptDate = Annotated[date, Field(description="Sold from the start of this day.", examples=["2019-05-03"])]
Moment = Annotated[datetime, Field(description="When, UTC.", examples=["2019-04-30T21:04:11Z"])]
KeyName = Annotated[str, Field(description="Name of the API key.", examples=["erp"])]
PolicyVersion = Annotated[str, Field(description="Name of the policy that decided.", examples=["daily-6.1"])]
Reason = Annotated[str, Field(description="Why, in the words of who did it.", examples=["May Day promotion"])]
Currency = Annotated[str, Field(description="The dataset's currency; of all money here.", examples=["EUR"])]
NextCursor = Annotated[
    str | None, Field(description="`cursor` of the next page; null at the end.", examples=["WyJTMTciLCAiQjEwMSJd"])
]
