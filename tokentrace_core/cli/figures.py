"""Figures as people read them: money, tokens, sizes, durations, times.

What is unknown is never shown as zero: `unpriced` for money, `-` for the rest. `≈` marks what was estimated.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tokentrace_core.pricing import show_usd, to_usd

UNKNOWN = "-"
UNPRICED = "unpriced"


def exact_usd(nano_usd: int) -> str:
    """Dollars, exact and without padding: `0.0004125`."""
    text = f"{to_usd(nano_usd):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def spent(nano_usd: int, *, unpriced: int = 0, estimated: int = 0) -> str:
    """A sum and how sure it is: `≈` with estimated parts, `+?` where calls without a price are left out."""
    if unpriced and not nano_usd:
        return UNPRICED
    return f"{'≈' if estimated else ''}{show_usd(nano_usd)}{'+?' if unpriced else ''}"


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else UNKNOWN


def tokens(count: int | None, *, narrow: bool = False) -> str:
    """`12,345`; where there is little room, `12.3k`."""
    if count is None:
        return UNKNOWN
    if not narrow or count < 10_000:
        return f"{count:,}"
    scaled, unit = (count / 1_000, "k") if count < 999_500 else (count / 1_000_000, "M")
    return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}{unit}"


def size(count: int | None) -> str:
    """Bytes: `42 B`, `1.2 kB`, `3.4 MB`."""
    if count is None:
        return UNKNOWN
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def duration(ms: float | None) -> str:
    """`164ms`, `1.2s`, `2m 05s`, `3h 07m`."""
    if ms is None:
        return UNKNOWN
    if ms < 1_000:
        return f"{ms:.0f}ms"
    if ms < 60_000:
        return f"{ms / 1_000:.1f}s"
    minutes, seconds = divmod(int(ms / 1_000), 60)
    return f"{minutes}m {seconds:02}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02}m"


def count(number: int, noun: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def iso(us: int | None) -> str | None:
    """A time in microseconds since the epoch as ISO 8601, UTC."""
    return None if us is None else _moment(us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment(us: int, shape: str = "%Y-%m-%d %H:%M:%S") -> str:
    return _moment(us).strftime(shape)


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)
