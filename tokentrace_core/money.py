"""Amounts: `Decimal` dollars outside, whole nano-dollars (10⁻⁹ $) in spans and tables, so that sums are exact."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

NANO = 1_000_000_000
_CENT = Decimal("0.01")


def to_nano(usd: Decimal | float | str) -> int:
    """Dollars to whole nano-dollars, half to even."""
    return int((Decimal(str(usd)) * NANO).to_integral_value(ROUND_HALF_EVEN))


def to_usd(nano_usd: int) -> Decimal:
    """Nano-dollars to dollars, exact."""
    return Decimal(nano_usd).scaleb(-9)


def show_usd(nano_usd: int) -> str:
    """`$12.35`, `$0.0123`, `$0.00041`: from a cent up four digits of a dollar, below it two that count."""
    amount = to_usd(nano_usd)
    sign, amount = ("-" if amount < 0 else ""), abs(amount)
    if not amount:
        return "$0"
    if amount >= 1:
        return f"{sign}${amount:,.2f}"
    digits = 4 if amount >= _CENT else 1 - amount.adjusted()
    return f"{sign}${amount:.{min(digits, 9)}f}"
