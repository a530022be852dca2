"""Numbers that are somebody's: social security numbers, cards and bank accounts.

Most numbers in an agent's text are not: times, prices, ids, coordinates, hashes. A number is private by its shape and
its check digits, or because the text around it says so; a label that says what else it is (an order, an ISBN) lets
one go that has only the shape.
"""

from __future__ import annotations

import re

from tokentrace_core.redaction_figures import (
    card_numbers,
    in_three_parts,
    lower_case_accounts,
    tax_numbers,
)
from tokentrace_core.redaction_rule import Rule
from tokentrace_core.redaction_scans import accounts
from tokentrace_core.redaction_sheet import Region

_NOT_DIGITS = re.compile("[^0-9]+")
NO_DIGIT_BEFORE = r"(?<![0-9])(?<![0-9][-.])"
NO_DIGIT_AFTER = r"(?![0-9])(?![-.][0-9])"

#: What a number of a person's shape may be instead, and what may stand between that word and the number.
_OTHER_THINGS = frozenset(
    re.findall(
        r"\S+",
        "order orders invoice invoices inv sku part parts tracking ticket tickets serial lot batch po isbn issn ean upc asin"
        " model models product products item items build builds commit doi arxiv rma shipment parcel article catalog"
        " catalogue drawing",
    )
)
_FILLERS = frozenset(re.findall(r"\S+", "number numbers no nos nr id ids code codes"))
_WORD = re.compile(r"[^\W\d_]+")
_NO_STOP = re.compile(r"[^0-9\n\0;]{0,40}")


def words_before(text: str, start: int) -> list[str]:
    """The last words in front, in lower case, down to a digit, a semicolon or the line's beginning."""
    return words_of(talk_before(text, start))


def talk_before(text: str, start: int) -> str:
    before = text[max(0, start - 40) : start]
    tail = _NO_STOP.match(before[::-1])
    return before[len(before) - (tail.end() if tail else 0) :]


def words_of(talk: str) -> list[str]:
    return _WORD.findall(talk.lower())[-7:]


def is_something_else(words: list[str]) -> bool:
    """Whether the words right before say that this is no number of a person."""
    at = len(words) - 1
    while at > 0 and words[at] in _FILLERS:
        at -= 1
    return at >= 0 and words[at] in _OTHER_THINGS


def digits_of(text: str) -> str:
    return _NOT_DIGITS.sub("", text)


# --- social security ---

_SSN_LABEL = re.compile(
    r"(?<![A-Za-z])(?:ssns?|social(?:[ _-]?security)?|soc[ ._-]{0,2}sec|i?tin|tax(?:payer)?[ _-]?id)(?![A-Za-z])"
    r"[^0-9.\n\0]{0,24}\Z",
    re.IGNORECASE,
)
_SSN_LABEL_AFTER = re.compile(r"[\"' ]{0,2}[(\[,]? ?(?:ssn|social security)", re.IGNORECASE)


def _labelled_ssn(text: str, start: int, end: int) -> bool:
    """Nine digits are an order number unless the text says what they are."""
    if _SSN_LABEL.search(text, max(0, start - 48), start) is not None:
        return True
    return _SSN_LABEL_AFTER.match(text, end, end + 24) is not None


def _ssn_exists(text: str, start: int, end: int) -> bool:
    """Areas that the Social Security Administration never issued are part numbers, except taxpayer ids (9xx)."""
    digits = digits_of(text[start:end])
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    issued = area not in ("000", "666") and group != "00" and serial != "0000"
    if issued and (area[0] != "9" or group >= "50"):
        return not is_something_else(words_before(text, start))
    return _labelled_ssn(text, start, end)


# --- cards ---

# First digits and lengths that card schemes issue. Epoch times in any unit begin with 1 and belong to none.
_CARD_SCHEMES = {
    12: re.compile(r"5[06-8]|6[037]"),
    13: re.compile(r"4"),
    14: re.compile(r"3[0689]"),
    15: re.compile(r"3[47]|2131|1800"),
    16: re.compile(
        r"4|5[0-8]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720|20[0-4])|3[05689]|6(?:011|5|4[4-9]|2|[037])|8[12]|9792"
    ),
    17: re.compile(r"5[06-8]|6[0237]|8[12]|35(?:2[89]|[3-8])"),
    18: re.compile(r"5[06-8]|6[0237]|8[12]|35(?:2[89]|[3-8])"),
    19: re.compile(r"4|5[06-8]|6[02-7]|8[12]|35(?:2[89]|[3-8])"),
}
#: Of twelve digits one number in ten has the check digit of a Maestro card, so there a word must say so.
_USUAL_LENGTH = 13
_CARD_WORDS = frozenset(
    re.findall(
        r"\S+",
        "card cards cc pan maestro visa debit karte kreditkarte carte tarjeta carta cartão kaart payment",
    )
)
_LUHN_DOUBLED = str.maketrans("0123456789", "0246813579")
_HEX = "0123456789abcdefABCDEF"
_HASH_LENGTH = 24
_UNIT_BEFORE = re.compile(r"[0-9]\.\Z")


def _luhn(digits: str) -> bool:
    return (sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(_LUHN_DOUBLED)))) % 10 == 0


def _inside_hash(text: str, start: int, end: int) -> bool:
    """A digit run between hex letters in a long token is part of a hash, which hits every checksum sooner or later."""
    before, after = text[max(0, start - 64) : start], text[end : end + 64]
    around = len(before) - len(before.rstrip(_HEX)) + len(after) - len(after.lstrip(_HEX))
    return around > 0 and around + end - start >= _HASH_LENGTH


def _card_issued(text: str, start: int, end: int) -> bool:
    digits = digits_of(text[start:end])
    scheme = _CARD_SCHEMES.get(len(digits))
    if scheme is None or scheme.match(digits) is None or not _luhn(digits):
        return False
    if "\n" in text[start:end] and _is_column(text, start, end):
        return False
    if (
        end - start >= 2 * len(digits) - 1
        and (text[max(0, start - 2) : start] + text[end : end + 2]).strip(" -.").isdigit()
    ):
        return False  # a row of single figures goes on
    if len(digits) < _USUAL_LENGTH and _CARD_WORDS.isdisjoint(words_before(text, start)):
        return False
    # The digits after a decimal point, as of a probability.
    fraction = _UNIT_BEFORE.search(text, max(0, start - 2), start) is not None
    return not fraction and not _inside_hash(text, start, end)


def _is_column(text: str, start: int, end: int) -> bool:
    """Figures below each other are a column, unless there are two and one of them stands in a sentence."""
    alone_before = text[text.rfind("\n", 0, start) + 1 : start].strip() == ""
    after = text.find("\n", end)
    alone_after = text[end : after if after >= 0 else len(text)].strip() == ""
    return (alone_before and alone_after) or text.count("\n", start, end) > 1


# --- bank accounts ---

_IBAN_LABEL = re.compile(r"iban[\"'\\ :=#_(-]{0,6}\Z", re.IGNORECASE)
#: Of what a neighbour may be longer, before the whole is a hash.
_LONGER = 6


def _iban(text: str, start: int, end: int) -> Region | None:
    """As long as its country's are, with check digits that are right; a label vouches for one that has a typo."""
    candidate = text[start:end]
    size = _iban_sizes().get(candidate[:2].upper())
    if size is None:
        return None
    places = [at for at, character in enumerate(candidate) if character.isalnum()]
    if len(places) < size:
        return None
    stop = places[size - 1] + 1
    compact = "".join(candidate[at] for at in places[:size]).upper()
    labelled = _IBAN_LABEL.search(text, max(0, start - 12), start) is not None
    if not labelled and (_runs_on(text, start, start + stop) or not _checks_out(compact)):
        return None
    return start, start + stop


def _checks_out(iban: str) -> bool:
    return int((iban[4:] + iban[:4]).translate(_FIGURES)) % 97 == 1


def _runs_on(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 16) : start], text[end : end + 16]
    beside = len(before) - len(before.rstrip(_ALNUM)) + len(after) - len(after.lstrip(_ALNUM))
    return beside > _LONGER


#: A is 10, B is 11, and so on.
_FIGURES = {ord(letter): str(at + 10) for at, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
_ALNUM = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SIZES = """
    15NO 16BE 18DK FI FK FO GL NL SD 19MK SI 20AT BA EE KZ LT LU MN XK 21CH HR LI LV 22BG BH CR DE GB GE IE ME RS VA
    23AE GI IL IQ OM SO TL 24AD CZ ES MD PK RO SA SE SK TN VG 25LY PT ST 26IS TR 27BI DJ FR GR IT MC MR SM 28AL AZ
    BY CY DO GT HU LB NI PL SV 29BR EG PS QA UA 30JO KW MU YE 31MT SC 32LC 33RU
"""


def _iban_sizes() -> dict[str, int]:
    if not _SIZE_OF:
        size = 0
        for number, country in re.findall(r"([0-9]*)([A-Z]{2})", _SIZES):
            size = int(number or size)
            _SIZE_OF[country] = size
    return _SIZE_OF


_SIZE_OF: dict[str, int] = {}

NUMBER_RULES: tuple[Rule, ...] = (
    Rule(
        "SSN",
        "[SSN_REDACTED]",
        re.compile(
            rf"{NO_DIGIT_BEFORE}(?:[0-9]{{3}}( ?[-_.] ?)[0-9]{{2}}\1[0-9]{{4}}"
            rf"|(?<![0-9] )[0-9]{{3}} [0-9]{{2}} [0-9]{{4}}(?! [0-9])){NO_DIGIT_AFTER}"
        ),
        within=in_three_parts,
        reach=(0, 2),
        accept=_ssn_exists,
    ),
    Rule(
        "SSN_LABELLED",
        "[SSN_REDACTED]",
        re.compile(r"(?<![0-9])[0-9](?:[ .\-_/]{0,3}[0-9]){8}(?![0-9])"),
        within=tax_numbers,
        reach=(0, 2),
        accept=_labelled_ssn,
    ),
    Rule(
        "CREDIT_CARD",
        "[CC_REDACTED]",
        re.compile(
            r"(?<![0-9])(?:"
            r"[0-9]{4}[ .\-_+/>\n\r]{1,4}[0-9]{4}[ .\-_+/>\n\r]{1,4}[0-9]{4}[ .\-_+/>\n\r]{1,4}[0-9]{4}"
            r"(?:[ .\-_]{1,3}[0-9]{3})?"
            r"|[0-9]{4}[ .\-_+/>\n\r]{1,4}[0-9]{6}[ .\-_+/>\n\r]{1,4}[0-9]{4,5}"
            r"|[0-9]{4}[ .\-_+]{1,2}[0-9]{4}[ .\-_+]{1,2}[0-9]{5}"
            r"|[0-9]([ .\-_+])[0-9](?:\1[0-9]){11,17}"
            r"|[0-9]{12,19})(?![0-9])"
        ),
        within=card_numbers,
        reach=(0, 2),
        accept=_card_issued,
    ),
    Rule(
        "CREDIT_CARD_OVER_LINES",
        "[CC_REDACTED]",
        re.compile(
            r"(?<![0-9])(?=[0-9 \-]{1,24}[\r\n])(?:[0-9][ \-]?){1,18}+\r?\n[ >\t]{0,8}"
            r"(?!(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9])(?:[0-9][ \-]?){1,18}(?<=[0-9])(?![0-9])"
        ),
        needs=("\n",),
        within=card_numbers,
        reach=(0, 2),
        accept=_card_issued,
    ),
    Rule(
        "IBAN",
        "[IBAN_REDACTED]",
        re.compile(r"[A-Z]{2}[0-9]{2}(?:[ .\-_]{0,2}[A-Z0-9]){11,29}"),
        within=accounts,
        reach=(0, 48),
        extent=_iban,
    ),
    Rule(
        "IBAN_LOWER_CASE",
        "[IBAN_REDACTED]",
        re.compile(r"[a-z]{2}[0-9]{2}(?:[ .\-_]{0,2}[a-z0-9]){11,29}"),
        within=lower_case_accounts,
        reach=(0, 48),
        extent=_iban,
    ),
)
