"""Passwords by their place: in an address, in a command line, in a call that logs in."""

from __future__ import annotations

import re

from tokentrace_core.redaction_rule import Rule
from tokentrace_core.redaction_scans import at_signs, curls, flags, telling_words, urls

_TO_BE_FILLED_IN = re.compile(r"\$?\{.*\}|<.*>|\$[A-Za-z_]\w*|%\(?\w*\)?s?|\*+|x{3,}|\.{3}|\[.*\]")


def _is_password(text: str, start: int, end: int) -> bool:
    return _TO_BE_FILLED_IN.fullmatch(text, start, end) is None


#: Programs that take a password behind a flag of one letter.
_PROGRAMS = (
    r"(?:sshpass|docker login|podman login|az login|mongo(?:sh|dump|restore)?|redis-cli|openssl|mysql(?:dump|admin)?"
    r"|mariadb|zip|7z|psql|ldapsearch|smbclient|http|https)"
)

LOGIN_RULES: tuple[Rule, ...] = (
    Rule(
        "PASSWORD_OF_CURL",
        "[PASSWORD_REDACTED]",
        re.compile(
            r"(?<=[\s\"',])(?:-u|--user|--proxy-user|-U|-a)[ =\"',]{1,4}[^\s:\"']{1,64}:(?P<secret>[^\s\"']{2,128})"
        ),
        within=curls,
        accept=_is_password,
    ),
    Rule(
        "URL_PASSWORD",
        "[PASSWORD_REDACTED]",
        re.compile(r"://[^\s/?#@:\"'<>\0]{0,128}:(?P<secret>[^\s/\"'<>\0]{1,256})@(?=[\w\[*{$%.\-<])"),
        within=urls,
        accept=_is_password,
    ),
    Rule(
        "PASSWORD_OF_COMMAND",
        "[PASSWORD_REDACTED]",
        re.compile(
            rf"(?<![\w.\-/]){_PROGRAMS} [^\n\0|;&]{{0,160}}?(?<= )-(?:p ?|[Pakw] )[\"']?"
            r"(?:[\w.@\-]{1,64}:)?(?P<secret>(?=[^\s\"']{0,64}?[0-9A-Z!#^*])[^\s\"'\-$][^\s\"']{3,127})"
        ),
        within=flags,
        accept=_is_password,
    ),
    Rule(
        "PASSWORD_OF_CALL",
        "[PASSWORD_REDACTED]",
        re.compile(r"[aA]uth ?=? ?\( ?([\"'])[^\"'\n\0]{1,64}\1 ?, ?([\"'])(?P<secret>[^\"'\n\0]{2,128})\2"),
        within=telling_words,
        reach=(0, 220),
        accept=_is_password,
    ),
    Rule(
        "PASSWORD_GIVEN",
        "[PASSWORD_REDACTED]",
        re.compile(r"[pP]assword\(([\"'])(?P<secret>(?=[^\"']{0,64}?[0-9])[^\s\"'\0]{4,128})\1\)"),
        within=telling_words,
        reach=(0, 140),
        accept=_is_password,
    ),
    Rule(
        "PASSWORD_OF_USER",
        "[PASSWORD_REDACTED]",
        re.compile(
            r"(?i:PASSWORD FOR [\w'@%.`\-]{1,64} ?(?:=|TO) ?(?:PASSWORD\()?)([\"'])(?P<secret>[^\"'\n\0]{1,128})\1"
        ),
        within=telling_words,
        reach=(0, 220),
        accept=_is_password,
    ),
    Rule(
        "PASSWORD_OF_ACCOUNT",
        "[PASSWORD_REDACTED]",
        re.compile(
            r"(?i:IDENTIFIED (?:WITH [\w'\"]{1,40} )?(?:BY|AS)) ([\"'])(?P<secret>[^\"'\n\0]{1,128})\1"
        ),
        needs=("IDENTIFIED", "identified", "Identified"),
        accept=_is_password,
    ),
    Rule(
        "PASSWORD_OF_ORACLE",
        "[PASSWORD_REDACTED]",
        re.compile(r"jdbc:oracle:\w{2,5}:[^\s/@\0]{1,64}/(?P<secret>[^\s@\0]{1,128})(?=@)"),
        within=at_signs,
        reach=(160, 0),
        accept=_is_password,
    ),
)
