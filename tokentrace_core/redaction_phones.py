"""Phone numbers: by their shape, by what the text calls them, and in doubt by the numbering plans of the world.

A `+` and a country's code, or the groups in which Americans write a number, are enough. Bare digits are a phone number
if a word nearby says so. What is left, a national number without either, is looked up in the countries' numbering plans
(`redaction_plans`).
"""

from __future__ import annotations

import re

from tokentrace_core.redaction_figures import (
    american_numbers,
    numbers_from_zero,
    numbers_in_groups,
    numbers_with_plus,
    unshaped_numbers,
)
from tokentrace_core.redaction_numbers import (
    NO_DIGIT_AFTER,
    NO_DIGIT_BEFORE,
    digits_of,
    is_something_else,
    talk_before,
    words_before,
    words_of,
)
from tokentrace_core.redaction_plans import given_out
from tokentrace_core.redaction_rule import Rule
from tokentrace_core.redaction_sheet import FIGURE, Region, Sheet, scan

#: Words near a number that make it a phone number, as they begin.
_WORDS = frozenset(
    re.findall(
        r"\S+",
        "ph phone phones mob tlf gsm sms tel tele tél móvil movil número numero numéro cel cell cells text texted texting dial dialed dialled"
        " ring rang reach reached reachable call calls called calling caller callback contact contacts number numbers hotline"
        " voicemail nummer line handy whatsapp signal viber telephone telefon telefono telefone teléfono téléphone telefoon"
        " telefax fax mobile mobil cellular cellulare celular rufnummer portable тел телефон rückruf rückrufnummer erreichbar"
        " erreichen anrufen joindre joignable appeler appelez llamar llame ligue ligar chiamare chiamami bellen звоните",
    )
)
_INSIDE = re.compile("phone|mobile|mobiln|telefon|rufnummer")
_SIGNS = ("电话", "手机", "電話", "携帯", "전화", "هاتف", "फोन", "телефон")
#: Words right before one that make it something else, and those that may stand between.
_OTHERS = frozenset(
    re.findall(
        r"\S+",
        "order orders invoice invoices account acct tracking ticket tickets serial part model item product case reference ref"
        " flight confirmation card version build batch lot issue pr page room id ids file route registration policy contract"
        " employee customer member student license transaction booking reservation iban bank routing port pid code row chat"
        " sku doc po pmid isbn commit epoch timestamp unix",
    )
)
_FILLERS = frozenset(
    re.findall(
        r"\S+", "is was of at on the me us my to a an you him her them back or and number numbers no nr num"
    )
)
_LABEL_AFTER = re.compile(
    r"[\"' ,]{0,3}[(\[]?(?:cell|mobile?|home|work|office|phone|tel|fax|whatsapp|direct)\b", re.IGNORECASE
)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-/. ][01]?[0-9][-/. ][0-3]?[0-9](?![0-9])|[0-3]?[0-9][-/.][01]?[0-9][-/.](?:19|20)[0-9]{2}(?![0-9])"
)
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+(?![-.0-9])")
#: American postal codes and employers' numbers.
_POSTAL = re.compile("[0-9]{5}-[0-9]{4}|[0-9]{2}-[0-9]{7}")
#: Of where a national number without a `+` may be from. A number is private wherever it is from; these are those
#: whose way of writing a number (a zero, brackets, groups) makes it a candidate at all.
_REGIONS = tuple(re.findall("..", "GBDEFRITESNLBECHATAUNZJPKRINZASEPLIE"))
_REGIONS_WITHOUT_ZERO = ("BR", "CN", "RU", "MX", "TR", "PT")


def _is_of_something_else(words: list[str]) -> bool:
    at = len(words) - 1
    while at >= 0 and words[at] in _FILLERS:
        at -= 1
    return at >= 0 and words[at] in _OTHERS


def _is_labelled(words: list[str]) -> bool:
    if _WORDS.isdisjoint(words) and not any(_INSIDE.search(word) for word in words if len(word) > 6):
        return False
    return not _is_of_something_else(words)


def _labelled(text: str, start: int, end: int) -> bool:
    return _announced(talk_before(text, start)) or _labelled_behind(text, end)


def _announced(talk: str) -> bool:
    words = words_of(talk)
    if _is_labelled(words):
        return True
    return bool(words) and not words[-1].isascii() and any(sign in words[-1] for sign in _SIGNS)


def _labelled_behind(text: str, end: int) -> bool:
    return (
        text[end : end + 5].strip(" ([,\"'")[:1].isalpha()
        and _LABEL_AFTER.match(text, end, end + 16) is not None
    )


@scan(FIGURE)
def labelled_numbers(sheet: Sheet) -> list[Region]:
    """Numbers in front of or behind which a word for a phone stands."""
    text, regions = sheet.text, []
    known: dict[str, bool] = {}
    for start, end in sheet.regions(unshaped_numbers):
        talk = talk_before(text, start - (text[start - 1 : start] == "("))
        announced = known.get(talk)
        if announced is None:
            announced = known[talk] = _announced(talk)
        if announced or _labelled_behind(text, start + len(text[start:end].rstrip("-_/.+ ()>\n\r\t"))):
            regions.append((start, end))
    return regions


def _is_date_or_decimal(text: str, start: int, end: int) -> bool:
    return _DATE.match(text, start, end) is not None or _DECIMAL.match(text, start, end) is not None


def _told(text: str, start: int, end: int) -> Region | None:
    """Seven digits or more: as many groups as one number has."""
    if _is_date_or_decimal(text, start, end):
        return None
    return start, _first_number(text, start, end)


def _first_number(text: str, start: int, end: int) -> int:
    """A number that begins with a long group is that group and at most one more; else groups up to 15 digits."""
    digits, stop = 0, start
    for group in _GROUP.finditer(text, start, end):
        width = group.end() - group.start()
        if digits >= 10 or (digits and digits + width > 15):
            break
        digits += width
        stop = group.end()
    return stop if digits >= 7 else end


_GROUP = re.compile("[0-9]+")


def _looks_american(text: str, start: int, end: int) -> bool:
    return not is_something_else(words_before(text, start))


def _international(text: str, start: int, end: int) -> bool:
    """After a letter or a bracket a `+` adds; unless what follows is a number that some country gave out."""
    digits = digits_of(text[start:end])
    if not 7 <= len(digits) <= 15 or _is_date_or_decimal(text, start + 1, end):
        return False
    before = text[start - 1 : start]
    glued = (before.isascii() and before.isalnum()) or before in (")", "]")
    short = len(digits) < 10 and digits == text[start + 1 : end]
    if digits[0] == "1" and len(digits) != 11:
        return False
    if glued and _is_labelled(words_before(text, start)):
        return True
    return not (glued or short) or given_out(digits)


def _with_zeros(text: str, start: int, end: int) -> bool:
    """`0044 ...`: a padded id looks the same, so the plan decides, or a label."""
    digits = digits_of(text[start:end])
    return 10 <= len(digits) <= 17 and (_labelled(text, start, end) or given_out(digits[2:]))


def _national(text: str, start: int, end: int) -> bool:
    """Digits in groups that the plan of some country knows."""
    words = words_before(text, start)
    if _DATE.search(text, start, end) is not None or is_something_else(words) or _is_of_something_else(words):
        return False
    digits = digits_of(text[start:end])
    if _DECIMAL.fullmatch(text, start, end) is not None:
        return False
    if not 9 <= len(digits) <= 12 or _POSTAL.fullmatch(text, start, end) is not None:
        return False
    regions = _REGIONS if digits[0] == "0" else _REGIONS_WITHOUT_ZERO
    return any(given_out(digits, region) for region in regions)


_EXTENSION = r"(?:[ ,;]{0,2}(?:x|ext\.?|extension) ?\.?[0-9]{1,6}(?![0-9]))?"

PHONE_RULES: tuple[Rule, ...] = (
    Rule(
        "PHONE_US",
        "[PHONE_REDACTED]",
        re.compile(
            rf"(?:(?<![A-Za-z0-9)])\+1[ .\-_/]{{0,3}}|{NO_DIGIT_BEFORE}(?:(?:001|1)[ .\-_/]{{1,3}})?)"
            r"(?:\(\+?1?[0-9]{3}\)[ .\-_/]{0,3}[0-9]{3}[ .\-_]{0,3}"
            r"|[0-9]{3}(?:[.\-_]| ?[.\-_/] ?)[0-9]{3} ?[ .\-_] ?"
            r"|[2-9][0-9]{2} [0-9]{3} ?[ .\-] ?"
            r"|[0-9]{3}-[0-9]{7}(?<=[0-9]{3}-[0-9]{3}))"
            rf"[0-9]{{4}}{NO_DIGIT_AFTER}{_EXTENSION}"
        ),
        within=american_numbers,
        reach=(4, 18),
        accept=_looks_american,
    ),
    Rule(
        "PHONE_INTERNATIONAL",
        "[PHONE_REDACTED]",
        re.compile(rf"\+[ (]{{0,2}}[1-9](?:[ ().\-_/]{{0,3}}[0-9]){{6,14}}(?![0-9]){_EXTENSION}"),
        within=numbers_with_plus,
        reach=(4, 18),
        accept=_international,
    ),
    Rule(
        "PHONE_INTERNATIONAL_ZEROS",
        "[PHONE_REDACTED]",
        re.compile(r"(?<![0-9A-Za-z.+\-])00[ (]{0,2}[1-9](?:[ ().\-/]{0,3}[0-9]){7,14}(?![0-9])"),
        within=numbers_from_zero,
        reach=(1, 2),
        accept=_with_zeros,
    ),
    Rule(
        "PHONE_LABELLED",
        "[PHONE_REDACTED]",
        re.compile(r"(?<![0-9A-Za-z])\(?[0-9](?:[ ().\-_/+]{0,3}[0-9]){6,16}(?![0-9A-Za-z])"),
        within=labelled_numbers,
        reach=(1, 2),
        extent=_told,
    ),
    Rule(
        "PHONE_NATIONAL",
        "[PHONE_REDACTED]",
        re.compile(
            r"(?<![0-9A-Za-z.+])(?<![0-9][-/ ])(?:"
            r"\(0[0-9]{1,4}\)[ ./\-]{0,2}[0-9]{2,8}(?:[ .\-][0-9]{2,4}){0,3}"
            r"|0[0-9]{1,4}[ ./\-]{1,3}[0-9]{2,8}(?:[ .\-]{1,3}[0-9]{2,8}){0,3}"
            r"|(?:\([1-9][0-9]\) ?9?|[1-9][0-9] 9)[0-9]{4}[ \-][0-9]{4}"
            r"|1[3-9][0-9][ \-][0-9]{4}[ \-][0-9]{4}"
            r"|8[ \-]?(?:\([0-9]{3}\) ?|9[0-9]{2}[ \-])[0-9]{3}[ \-][0-9]{2}[ \-][0-9]{2})(?![0-9])(?![-/.:][0-9])"
        ),
        within=numbers_in_groups,
        reach=(1, 3),
        accept=_national,
    ),
)
