"""Money set aside by hand: for spending that no framework reports and no block records.

    with tracer.reserve(0.02, user="ada") as reservation:      # raises BudgetExceeded if it does not fit
        invoice = render_video(...)
        reservation.settle(invoice.usd)

Left without a word, the estimate counts as spent; left by an exception, nothing does.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from tokentrace_core.pricing import to_nano

#: What ends a reservation: with nano-dollars that were spent.
Settle = Callable[[int], None]


class ReservedAmount:
    """An amount set aside under all limits that hold here. Settled or released once; a second time does nothing."""

    def __init__(self, estimate_nano: int, settle: Settle) -> None:
        self._estimate = estimate_nano
        self._settle: Settle | None = settle

    def settle(self, actual_usd: Decimal | float | str) -> None:
        """It was spent: this much, whatever was set aside. Raises ValueError if it is no amount."""
        self._end(nano_of("settle", actual_usd))

    def release(self) -> None:
        """Nothing was spent."""
        self._end(0)

    def _end(self, nano_usd: int) -> None:
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(nano_usd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(self._estimate if error is None else 0)


def nano_of(what: str, usd: Any) -> int:
    """Nano-dollars of an amount of dollars from 0 up; ValueError if it is none."""
    try:
        nano = to_nano(usd)
    except (ArithmeticError, ValueError):
        nano = -1
    if nano < 0:
        raise ValueError(f"{what}({usd!r}): an amount of dollars is a number from 0 up")
    return nano
