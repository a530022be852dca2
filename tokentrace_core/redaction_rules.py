r"""What counts as private, as data: one `Rule` per kind of secret.

A rule says where to look (`needs`, `within`), what the secret looks like (`pattern`, `behind`) and which look-alikes
to let go (`accept`). It never touches text: the engine in `redact.py` does, the same way for every rule, so a new
kind of secret is one more row here.

Three habits keep every rule linear in the length of the text, whoever wrote the text:

- each repetition has an upper bound or is a single character class with nothing after it to backtrack into;
- a secret that begins anywhere but holds a telling character (the `@` of an e-mail) is found at that character and
  grown to the left by `behind`, instead of being tried from every letter of the text;
- all rules about numbers share one scan for digits (`NUMBERS`) and look only at what this scan found.

No built-in rule reaches over a blank that a letter follows. Streaming relies on it: such a place is always a safe cut.
Text reaches the rules with digits, dashes and blanks folded to ASCII, so patterns spell out `[0-9]`, `-` and ` `.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec


class Rule(msgspec.Struct, frozen=True):
    """One kind of secret.

    `placeholder` stands in the secret's place and says only its kind. `pattern` finds it; if the pattern has a group
    called `secret`, only this group is replaced. `needs`: strings of which at least one must be present, else the rule
    is not tried. `within`: try the pattern only inside the matches of this other one (scans are shared between rules),
    and only in those of at least `least` characters.
    `behind` is matched against the reversed text in front of a match and moves its beginning to the left; where it
    does not match there is no secret. `accept(text, start, end)` has the last word. `window`: how many characters a
    match with its context may take; 0 promises that it never reaches over a blank followed by a letter.
    """

    name: str
    placeholder: str
    pattern: re.Pattern[str]
    needs: tuple[str, ...] = ()
    within: re.Pattern[str] | None = None
    least: int = 0
    behind: re.Pattern[str] | None = None
    accept: Callable[[str, int, int], bool] | None = None
    window: int = 0


NUMBERS = re.compile(r"[0-9][0-9 ().+\-]{6,}")
"""Runs that may hold a number with a meaning: seven characters is the shortest IPv4 address."""

_NOT_DIGITS = re.compile("[^0-9]+")
_NO_DIGIT_BEFORE = r"(?<![0-9])(?<![0-9][-.])"
_NO_DIGIT_AFTER = r"(?![0-9])(?![-.][0-9])"


def _ssn_exists(text: str, start: int, end: int) -> bool:
    """Areas that the Social Security Administration never issued are part numbers, except taxpayer ids (9xx)."""
    digits = _NOT_DIGITS.sub("", text[start:end])
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in ("000", "666") or group == "00" or serial == "0000":
        return False
    return area[0] != "9" or group >= "50"


_SSN_LABEL = re.compile(r"(?<![A-Za-z])ssn[\"'\\\s:=#]{0,6}\Z", re.IGNORECASE)


def _labelled_ssn(text: str, start: int, end: int) -> bool:
    """Nine bare digits are an order number unless the text says what they are."""
    return _SSN_LABEL.search(text, max(0, start - 12), start) is not None and _ssn_exists(text, start, end)


# First digits and lengths that card schemes issue. Epoch times in any unit begin with 1 and belong to none.
_CARD_SCHEMES = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"6(?:011|5|4[4-9])"), (16, 19)),
    (re.compile(r"3(?:0|6|8|9)"), (14, 16)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    (re.compile(r"62"), (16, 17, 18, 19)),
    (re.compile(r"5[06-8]|6[37]"), (16, 17, 18, 19)),
)
_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_HEX = "0123456789abcdefABCDEF"
_HASH_LENGTH = 24


def _luhn(digits: str) -> bool:
    figures = [int(digit) for digit in reversed(digits)]
    return (sum(figures[::2]) + sum(_LUHN_DOUBLED[figure] for figure in figures[1::2])) % 10 == 0


def _inside_hash(text: str, start: int, end: int) -> bool:
    """A digit run between hex letters in a long token is part of a hash, which hits every checksum sooner or later."""
    before, after = text[max(0, start - 64) : start], text[end : end + 64]
    around = len(before) - len(before.rstrip(_HEX)) + len(after) - len(after.lstrip(_HEX))
    return around > 0 and around + end - start >= _HASH_LENGTH


def _card_issued(text: str, start: int, end: int) -> bool:
    digits = _NOT_DIGITS.sub("", text[start:end])
    issued = any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _CARD_SCHEMES)
    return issued and _luhn(digits) and not _inside_hash(text, start, end)


_VERSION_LABEL = re.compile(
    r"(?:(?<![A-Za-z])(?:v|ver|version|release|rev|revision|build|firmware|section|chapter)[\"'\\\s:=.#]{0,5}|==|§ ?)\Z",
    re.IGNORECASE,
)


def _is_address(text: str, start: int, end: int) -> bool:
    """Four numbers up to 255 that nothing around them calls a version."""
    if any(int(octet) > 255 for octet in text[start:end].split(".")):
        return False
    return _VERSION_LABEL.search(text, max(0, start - 16), start) is None


def _is_address_v6(text: str, start: int, end: int) -> bool:
    """Colons alone also make times, MAC addresses, `std::` and slices like `x[1::2]`."""
    if start and (text[start - 1].isalnum() or text[start - 1] in ":._"):
        return False
    address = text[start:end]
    head, gap, tail = address.partition("::")
    groups = [group for part in (head, tail) if part for group in part.split(":")]
    width = len(groups) + ("." in groups[-1] if groups else 0)
    if not all(groups) or (width > 7 if gap else width != 8):
        return False
    return not gap or (any(map(str.isdigit, address)) and (len(groups) > 2 or len(groups[0]) > 2))


DEFAULT_RULES: tuple[Rule, ...] = (
    Rule(
        "SSN",
        "[SSN_REDACTED]",
        re.compile(rf"{_NO_DIGIT_BEFORE}[0-9]{{3}}([ \-])[0-9]{{2}}\1[0-9]{{4}}{_NO_DIGIT_AFTER}"),
        within=NUMBERS,
        least=11,
        accept=_ssn_exists,
    ),
    Rule(
        "SSN_LABELLED",
        "[SSN_REDACTED]",
        re.compile(r"(?<![0-9])[0-9]{9}(?![0-9])"),
        needs=("ssn", "SSN", "Ssn"),
        within=NUMBERS,
        least=9,
        accept=_labelled_ssn,
    ),
    Rule(
        "EMAIL",
        "[EMAIL_REDACTED]",
        re.compile(r"(?:@|%40)(?:localhost\b|(?:[\w\-]{1,63}+\.){1,10}(?:xn--[\w\-]{2,59}|[^\W\d_]{2,24}))"),
        needs=("@", "%"),
        # Read backwards: a quoted name; a name that a JSON escape such as \n precedes, which must keep its n; a name.
        behind=re.compile(
            r"\"[\w.%+'\-]{1,64}\"|[\w.%+'\-]{1,128}+(?!\\)|[\w.%+'\-]{1,127}(?=[bfnrt]\\)|[\w.%+'\-]{1,128}"
        ),
    ),
    Rule(
        "PHONE",
        "[PHONE_REDACTED]",
        re.compile(
            rf"(?:(?:(?<![\w)])|(?<=\\[nrt]))\+1[ .\-]{{0,2}}|{_NO_DIGIT_BEFORE}(?:1[ .\-]{{1,2}})?)"
            r"(?:\([0-9]{3}\)[ .\-]{0,2}[0-9]{3}[ .\-]{0,2}|(?:[0-9]{3}[.\-]|[2-9][0-9]{2} )[ .\-]?[0-9]{3}[ .\-]{1,2})"
            rf"[0-9]{{4}}{_NO_DIGIT_AFTER}"
        ),
        within=NUMBERS,
        least=11,
    ),
    Rule(
        "PHONE_INTERNATIONAL",
        "[PHONE_REDACTED]",
        re.compile(r"(?:(?<![\w)])|(?<=\\[nrt]))\+[1-9](?:[ ().\-]{0,2}+[0-9]){7,14}(?![0-9])"),
        needs=("+",),
        within=NUMBERS,
        least=8,
    ),
    Rule(
        "CREDIT_CARD",
        "[CC_REDACTED]",
        re.compile(
            r"(?<![0-9])(?:[0-9]{4}([ .\-]{0,2})[0-9]{4}\1[0-9]{4}\1[0-9]{4}"
            r"|[0-9]{4}([ .\-]{1,2})[0-9]{6}\2[0-9]{4,5}|[0-9]{13,19})(?![0-9])"
        ),
        within=NUMBERS,
        least=13,
        accept=_card_issued,
    ),
    Rule(
        "IPV4",
        "[IP_REDACTED]",
        re.compile(r"(?<![0-9])(?<![0-9]\.)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_])(?!\.[0-9])"),
        within=NUMBERS,
        least=7,
        accept=_is_address,
    ),
    Rule(
        "IPV6",
        "[IP_REDACTED]",
        re.compile(
            r":(?::|[0-9A-Fa-f]{1,4}:(?=[0-9A-Fa-f]{0,4}:))[0-9A-Fa-f:.]{0,34}(?:(?<![.:])|(?<=::))(?![\w:])"
        ),
        needs=(":",),
        behind=re.compile(r"[0-9A-Fa-f:]{0,30}"),
        accept=_is_address_v6,
    ),
)
"""The five kinds of the seed (SSN, e-mail, phone, card, IP), in its order: on overlap the first named wins."""


SECRET_PLACEHOLDER = "[SECRET_REDACTED]"


def telling_key(key: str) -> str | None:
    """The placeholder for everything under `key`, or None: `X-Api-Key` and `apiKey` tell, `max_tokens` does not."""
    return _TELLING_KEYS.get(re.sub(r"[\W_]+", "", key).lower())


_SECRET_KEYS = re.findall(
    r"\w+",
    """
    password passwd pwd passphrase passcode secret clientsecret secretkey secrets credentials
    token accesstoken refreshtoken idtoken authtoken bearertoken sessiontoken apitoken csrftoken xauthtoken
    apikey xapikey apisecret accesskey secretaccesskey awssecretaccesskey awssessiontoken privatekey signingkey
    openaiapikey anthropicapikey googleapikey githubtoken slacktoken databaseurl
    authorization proxyauthorization auth bearer cookie cookies setcookie sessionid
    """,
)
_TELLING_KEYS = (
    dict.fromkeys(_SECRET_KEYS, SECRET_PLACEHOLDER)
    | dict.fromkeys(("ssn", "socialsecuritynumber", "socialsecurity"), "[SSN_REDACTED]")
    | dict.fromkeys(
        ("creditcard", "creditcardnumber", "cardnumber", "ccnumber", "cvv", "cvc"), "[CC_REDACTED]"
    )
)
