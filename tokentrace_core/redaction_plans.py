"""The numbering plans of the world: which numbers a country has given out.

The plans are the library's, `phonenumbers`; they are loaded when the first candidate turns up. Asked number by number
the library takes some 40 µs, and a number without a country's code is asked of twenty countries. So of each plan one
pattern is made, which takes one.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

#: What a plan tells apart (numbers of cities, of mobiles, ...); a number is given out if it is of one of them.
_TYPES = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip
_LONGEST_CODE = 3


def given_out(digits: str, region: str | None = None) -> bool:
    """Whether a country's plan has this number: as dialled inside `region`, else as it follows a `+`.

    Without the library any number may be given out.
    """
    plans = _library()
    if plans is None:
        return True
    if region is not None:
        return _plan(plans.country_code_for_region(region)).fullmatch(digits) is not None
    return any(
        int(digits[:size]) in plans.COUNTRY_CODE_TO_REGION_CODE
        and _plan(int(digits[:size])).fullmatch(digits, size) is not None
        for size in range(1, _LONGEST_CODE + 1)
    )


@cache
def _library() -> Any:
    try:
        import phonenumbers
    except ImportError:
        return None
    return phonenumbers


@cache
def _plan(country_code: int) -> re.Pattern[str]:
    """All numbers of all regions that share the code, with the zero or its like in front or without it."""
    plans = _library()
    numbers: set[str] = set()
    prefixes: set[str] = set()
    for region in plans.COUNTRY_CODE_TO_REGION_CODE[country_code]:
        plan = (
            plans.PhoneMetadata.metadata_for_nongeo_region(country_code)
            if region == "001"
            else plans.PhoneMetadata.metadata_for_region(region)
        )
        kinds = (getattr(plan, kind) for kind in _TYPES)
        numbers |= {kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern}
        if plan.national_prefix_for_parsing:
            prefixes.add(plan.national_prefix_for_parsing)
    prefix = f"(?:{'|'.join(sorted(prefixes))})?" if prefixes else ""
    return re.compile(f"{prefix}(?:{'|'.join(sorted(numbers))})")
