"""Where in a text each kind of secret could stand: the scans that the rules share."""

from __future__ import annotations

import re

from tokentrace_core.redaction_sheet import (
    AT,
    BRACKET,
    COLON,
    DIGIT,
    DIGITS,
    LETTERS,
    LONG,
    TELLING,
    TILDE,
    Region,
    Sheet,
    classes,
    scan,
)

_BASE64 = classes(b=DIGITS + LETTERS + b"+/")


@scan()
def everywhere(sheet: Sheet) -> list[Region]:
    """All of a text."""
    return [(0, len(sheet.text))]


@scan(AT)
def at_signs(sheet: Sheet) -> list[Region]:
    """Each `@`, and as much behind it as a domain may take."""
    return [(found.start(), found.start() + 280) for found in _AT.finditer(sheet.raw)]


@scan(LONG)
def private_keys(sheet: Sheet) -> list[Region]:
    """Around the words that a private key begins with."""
    return [(max(0, found.start() - 48), found.end() + 16) for found in _PRIVATE_KEY.finditer(sheet.raw)]


_PRIVATE_KEY = re.compile(b"PRIVATE KEY")


@scan()
def spelled_dots(sheet: Sheet) -> list[Region]:
    """In front of a `dot` that stands alone."""
    return [(max(0, found.start() - 80), found.end() + 160) for found in _DOT.finditer(sheet.lower)]


_DOT = re.compile(b" dot ")


@scan(DIGIT)
def accounts(sheet: Sheet) -> list[Region]:
    """Two capitals and two digits, as a bank account's number begins."""
    return [found.span() for found in _COUNTRY.finditer(sheet.raw.translate(_CAPITALS))]


_CAPITALS = classes(c=b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", d=DIGITS)
_COUNTRY = re.compile(b"ccdd")


@scan(COLON)
def curls(sheet: Sheet) -> list[Region]:
    """All of a text in which `curl` or its like is called."""
    return [(0, len(sheet.text))] if _CURL.search(sheet.raw) is not None else []


_CURL = re.compile(b"curl")


@scan()
def flags(sheet: Sheet) -> list[Region]:
    """All of a text in which a flag stands that takes a password in some programs."""
    return [(0, len(sheet.text))] if _FLAG.search(sheet.raw) is not None else []


_FLAG = re.compile(rb" -(?:p|[Pakw] )")


@scan(BRACKET)
def spelled_ats(sheet: Sheet) -> list[Region]:
    """`[at]`, `(at)` and their like, from the bracket on."""
    found = [found.span() for found in _SPELLED_AT.finditer(sheet.lower)]
    if b"@" in sheet.raw:
        found += [found.span() for found in _ENCLOSED_AT.finditer(sheet.raw)]
    return sorted(found)


_SPELLED_AT = re.compile(rb"at ?[\])}>]")
_ENCLOSED_AT = re.compile(rb"@ ?[\])}>]")


@scan(AT)
def spaced_ats(sheet: Sheet) -> list[Region]:
    """An `@` with a blank before or behind it."""
    signs = (found.start() for found in _AT.finditer(sheet.raw))
    return [(max(at - 1, 0), at + 1) for at in signs if b" " in sheet.raw[max(at - 1, 0) : at + 2]]


_AT = re.compile(b"@")


@scan(DIGIT)
def dotted(sheet: Sheet) -> list[Region]:
    """Where four short numbers are parted by dots."""
    return [(max(0, found.start() - 3), found.end() + 3) for found in _DOTTED.finditer(sheet.raw)]


_DOTTED = re.compile(rb"\.[0-9]{1,3}\.[0-9]{1,3}\.(?=[0-9])")


@scan(COLON)
def colons(sheet: Sheet) -> list[Region]:
    """Runs of hexadecimal groups with a double colon or several single ones, as in an IPv6 address."""
    regions: list[Region] = []
    shape = b""
    done = 0
    for found in _TWO_COLONS.finditer(sheet.raw):
        if found.start() >= done:
            shape = shape or sheet.raw.translate(_HEXADECIMAL)
            start = shape.rfind(b" ", 0, found.start()) + 1
            done = _end_of(shape, found.start())
            if sheet.raw.count(b":", start, done) > 5 or sheet.raw.find(b"::", start, done) >= 0:
                regions.append((start, done))
    return regions


_TWO_COLONS = re.compile(rb":(?::|[0-9A-Fa-f]{1,4}:)")
_HEXADECIMAL = classes(h=DIGITS + b"abcdefABCDEF:.")


@scan(LONG)
def tokens(sheet: Sheet) -> list[Region]:
    """Long words of letters, digits, `_` and `-`: what keys are made of, and ids, and few words of a language."""
    return _runs(sheet.shape, b"t" * 16)


@scan(LONG)
def dotted_tokens(sheet: Sheet) -> list[Region]:
    """Long words with a dot behind them."""
    return [region for region in sheet.regions(tokens) if sheet.raw[region[1] : region[1] + 1] == b"."]


@scan(LONG | COLON)
def bot_tokens(sheet: Sheet) -> list[Region]:
    """Long words after a number and a colon, as the tokens of Telegram's bots are."""
    return [
        (start, end) for start, end in sheet.regions(tokens) if sheet.raw[start - 1 : start + 2] == b":AA"
    ]


@scan(DIGIT)
def base64(sheet: Sheet) -> list[Region]:
    """Stretches of exactly forty characters of base64, which is what a secret key of AWS looks like."""
    if not sheet.signs & LONG and b"/" not in sheet.raw and b"+" not in sheet.raw:
        return []
    runs = _runs(sheet.raw.translate(_BASE64), b"b" * 40)
    # A sign in front is a patch's or a path's more often than the key's.
    apart = [(start + (end - start == 41 and sheet.raw[start] in b"+/"), end) for start, end in runs]
    return [(start, end) for start, end in apart if end - start == 40]


@scan(COLON | AT)
def urls(sheet: Sheet) -> list[Region]:
    """What follows `://`."""
    return [(found.start(), found.start() + 512) for found in _SCHEME_END.finditer(sheet.raw)]


_SCHEME_END = re.compile(b"://")


@scan(LONG | COLON)
def webhooks(sheet: Sheet) -> list[Region]:
    """The last part of a URL that Slack, Discord or Teams gave out."""
    raw = sheet.raw
    if b"hook" not in raw:
        return []
    return [
        (max(0, start - 96), end)
        for start, end in sheet.regions(tokens)
        if raw.find(b"hook", max(0, start - 80), start) >= 0
    ]


@scan(TILDE)
def tildes(sheet: Sheet) -> list[Region]:
    """Around `Q~`, which marks a client's secret of Azure."""
    return [(max(0, found.start() - 4), found.start() + 64) for found in _Q_TILDE.finditer(sheet.raw)]


_Q_TILDE = re.compile(b"Q~")


def _runs(shape: bytes, least: bytes) -> list[Region]:
    regions: list[Region] = []
    at = shape.find(least)
    while at >= 0:
        end = _end_of(shape, at)
        regions.append((at, end))
        at = shape.find(least, end)
    return regions


def _end_of(shape: bytes, at: int) -> int:
    end = shape.find(b" ", at)
    return end if end >= 0 else len(shape)


@scan(TELLING)
def telling_words(sheet: Sheet) -> list[Region]:
    """Names (`DB_PASSWORD`, `api-key`, `Authorization`) in which a word stands that announces a secret."""
    if sheet.foreign:
        return sorted({*_names(sheet), *(found.span() for found in _FOREIGN.finditer(sheet.text))})
    return _names(sheet)


def _names(sheet: Sheet) -> list[Region]:
    shape = sheet.shape
    names: list[Region] = []
    end = -1
    for at in sorted(sheet.telling):
        if at >= end:
            start, end = shape.rfind(b" ", max(end, 0), at) + 1, _end_of(shape, at)
            names.append((start, end))
    return names


_FOREIGN = re.compile(
    r"(?i:contraseña|пароль|hasło|lösenord|salasana|contrasenya|密码|密碼|口令|パスワード|暗証番号|비밀번호|şifre|كلمة المرور)"
)
