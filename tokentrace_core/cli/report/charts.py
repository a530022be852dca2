"""Pictures as SVG, drawn by Altair and vl-convert without a browser and without a network.

Both come with the extra `report`; nothing else of tokentrace imports them. A picture is text: no script, no font and no address that
would have to be fetched.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from tokentrace_core.errors import MissingExtra

_WIDTH = 620
_BAR_HEIGHT = 22
_LABELS = 260
_UP, _DOWN = "#b5402f", "#3d8361"
_PALETTE = ["#27496d", "#c47f2c", "#3d8361", "#8a4f7d", "#6c8ebf", "#9a9a9a"]


class Bar(NamedTuple):
    """One bar."""

    name: str
    dollars: float


class Column(NamedTuple):
    """A part of one day's column."""

    day: str
    series: str
    dollars: float


def load() -> Any:
    """Altair. Raises `MissingExtra`, with the line that installs it."""
    try:
        importlib.import_module("vl_convert")
        return importlib.import_module("altair")
    except ImportError as error:
        raise MissingExtra("the report", "altair with vl-convert-python", "report") from error


def bars(values: Sequence[Bar], *, signed: bool = False) -> str:
    """Horizontal bars in this order. `signed`: what raises the cost and what lowers it have a colour each."""
    alt = load()
    names = _distinct([bar.name for bar in values])
    rows = [{"name": name, "dollars": bar.dollars} for name, bar in zip(names, values, strict=True)]
    colour = (
        alt.condition("datum.dollars < 0", alt.value(_DOWN), alt.value(_UP))
        if signed
        else alt.value(_PALETTE[0])
    )
    chart = alt.Chart(
        alt.Data(values=rows), width=_WIDTH - _LABELS, height=_BAR_HEIGHT * len(rows)
    ).mark_bar()
    return _drawn(
        chart.encode(
            x=alt.X("dollars:Q", title="US dollars"),
            y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=_LABELS)),
            color=colour,
        )
    )


def columns(values: Sequence[Column]) -> str:
    """A column for each day, in the order of time, its parts stacked in the order of their names' first appearance."""
    alt = load()
    rows = [column._asdict() for column in values]
    series = list(dict.fromkeys(column.series for column in values))
    chart = alt.Chart(alt.Data(values=rows), width=_WIDTH, height=220).mark_bar()
    return _drawn(
        chart.encode(
            x=alt.X("day:O", title=None, axis=alt.Axis(labelAngle=-60)),
            y=alt.Y("sum(dollars):Q", title="US dollars"),
            color=alt.Color(
                "series:N",
                title=None,
                scale=alt.Scale(domain=series, range=_PALETTE[: len(series)]),
                legend=alt.Legend(orient="bottom", columns=2, labelLimit=_LABELS),
            ),
        )
    )


def _drawn(chart: Any) -> str:
    with io.StringIO() as text:
        chart.save(text, format="svg")
        return text.getvalue()


def _distinct(names: Sequence[str]) -> list[str]:
    """Bars of one name would be one bar."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
