"""Figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

Cell = str | float | int | None


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A Markdown table: texts as they are, figures short, `-` for what there is not."""
    lines = [heads, ["---"] * len(heads), *[[show(cell) for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(figure: Cell) -> str:
    """Three digits say all that a noisy machine can tell."""
    if figure is None:
        return "-"
    if isinstance(figure, str):
        return figure
    if isinstance(figure, int) or abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:#.3g}".rstrip(".")


def middle(figures: Iterable[float | None]) -> float | None:
    """The median of those that are there."""
    there = [figure for figure in figures if figure is not None]
    return median(there) if there else None


def ratio(figure: float | None, other: float | None) -> float | None:
    return figure / other if figure is not None and other else None


def pairs(figures: Iterable[float], others: Iterable[float]) -> str:
    """The median of the ratios, each of two figures that were taken next to each other."""
    return show(middle(ratio(figure, other) for figure, other in zip(figures, others, strict=False)))
