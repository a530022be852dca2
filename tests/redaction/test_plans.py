"""Our pattern of a country's numbering plan says of a number what the library says that it is made from."""

from __future__ import annotations

from random import Random

import phonenumbers
import pytest

from tokentrace_core.redaction_plans import given_out

_REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
#: Written with a zero in front at home.
_WITH_ZERO = ("GB", "DE", "FR", "NL", "AT", "JP", "SE", "ZA")


@pytest.mark.parametrize("region", _REGIONS)
def test_a_number_that_a_country_gave_out_is_known_with_its_code(region: str) -> None:
    number = phonenumbers.example_number(region)
    assert given_out(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:])


def test_random_digits_are_judged_as_the_library_judges_them() -> None:
    r, differ = Random(1), []
    for number in range(4_000):
        code = r.choice(list(phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
        digits = f"{code}{r.randrange(10 ** r.randint(6, 11))}"
        if given_out(digits) != _valid("+" + digits):
            differ.append((number, digits))
    assert len(differ) <= 20


@pytest.mark.parametrize("region", _WITH_ZERO)
def test_numbers_as_dialled_at_home_are_judged_as_the_library_judges_them(region: str) -> None:
    r = Random(region)
    numbers = [f"0{r.randrange(10 ** r.randint(8, 10))}" for _ in range(400)]
    differ = [number for number in numbers if given_out(number, region) != _valid(number, region)]
    assert len(differ) <= 4
    assert any(given_out(number, region) for number in numbers)
    assert not all(given_out(number, region) for number in numbers)


def _valid(number: str, region: str | None = None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False
