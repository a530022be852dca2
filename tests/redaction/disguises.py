"""Ways in which a value is written so that a naive pattern misses it, and a reader does not."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from urllib.parse import quote

_NUMBERS = frozenset({"SSN", "PHONE_US", "PHONE_INTL", "CREDIT_CARD", "IBAN", "IPV4"})
_ALL = frozenset({"SSN", "EMAIL", "PHONE_US", "PHONE_INTL", "CREDIT_CARD", "IPV4", "IPV6", "IBAN", "KEY_OPENAI",
                  "KEY_ANTHROPIC", "KEY_AWS", "KEY_GITHUB", "KEY_SLACK", "KEY_GOOGLE", "JWT"})  # fmt: skip
_GROUPED = frozenset({"SSN", "CREDIT_CARD", "PHONE_US"})


def full_width(value: str, r: Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value)


def full_width_digits(value: str, r: Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c.isdigit() and c.isascii() else c for c in value)


def invisible(value: str, r: Random) -> str:
    at = r.randint(1, len(value) - 1)
    sign = r.choice("\u200b\u200c\u200d\u2060\ufeff\u00ad")
    return value[:at] + sign + value[at:]


def invisible_everywhere(value: str, r: Random) -> str:
    return "\u200b".join(value)


def percent(value: str, r: Random) -> str:
    return quote(value, safe="")


def percent_all(value: str, r: Random) -> str:
    return "".join(f"%{byte:02X}" for byte in value.encode())


def json_escapes(value: str, r: Random) -> str:
    return "".join(f"\\u{ord(c):04x}" if not (c.isalnum() and c.isascii()) else c for c in value)


def html_decimal(value: str, r: Random) -> str:
    return "".join(f"&#{ord(c)};" if not (c.isalnum() and c.isascii()) else c for c in value)


def html_hexadecimal(value: str, r: Random) -> str:
    return "".join(f"&#x{ord(c):x};" for c in value)


def other_dash(value: str, r: Random) -> str:
    return value.replace("-", r.choice("\u2010\u2011\u2013\u2212\uff0d"))


def other_blank(value: str, r: Random) -> str:
    return value.replace(" ", r.choice("\u00a0\u202f\u2009\u3000"))


def _separated(sign: str) -> Callable[[str, Random], str]:
    def separated(value: str, r: Random) -> str:
        plain = (
            value.replace("(", "")
            .replace(") ", "-")
            .replace(")", "-")
            .partition(" x")[0]
            .partition(" ext")[0]
        )
        for old in " -.":
            plain = plain.replace(old, "\0")
        return plain.strip("\0").replace("\0", sign)

    return separated


#: Enclose the value where a disguise adds something that is not of it.
BEGIN, END = "\x01", "\x02"


def glued_front(value: str, r: Random) -> str:
    return r.choice(["user_", "id_", "x_", "data_"]) + BEGIN + value + END


def glued_behind(value: str, r: Random) -> str:
    return BEGIN + value + END + r.choice(["_v2", "_old", "_1st"])


def glued_letters(value: str, r: Random) -> str:
    return r.choice(["SSN", "NR", "No", "CARD"]) + BEGIN + value + END + r.choice(["x", "abc", "USD"])


def line_broken(value: str, r: Random) -> str:
    spaces = [at for at, c in enumerate(value) if c in " -"]
    at = r.choice(spaces) if spaces else len(value) // 2
    return f"no. {BEGIN}{value[:at]}\n{value[at:].lstrip(' -.')}{END} ok"


def one_by_one(value: str, r: Random) -> str:
    return " ".join(c for c in value if c.isdigit())


def spelled(value: str, r: Random) -> str:
    at, dot = r.choice(
        [("[at]", "[dot]"), (" (at) ", " (dot) "), (" at ", " dot "), ("{at}", "."), (" [AT] ", ".")]
    )
    name, host = value.split("@")
    return f"{name}{at}{host.replace('.', dot)}"


_EVERY: tuple[tuple[Callable[[str, Random], str], frozenset[str]], ...] = (
    (full_width, _NUMBERS | {"EMAIL"}),
    (full_width_digits, _NUMBERS),
    (invisible, _ALL),
    (invisible_everywhere, _NUMBERS | {"EMAIL"}),
    (percent, _ALL),
    (percent_all, _NUMBERS | {"EMAIL"}),
    (json_escapes, _ALL),
    (html_decimal, _ALL),
    (html_hexadecimal, _NUMBERS | {"EMAIL"}),
    (other_dash, _GROUPED | {"PHONE_INTL"}),
    (other_blank, _GROUPED | {"PHONE_INTL", "IBAN"}),
    (_separated("."), _GROUPED),
    (_separated(" "), _GROUPED),
    (_separated("_"), _GROUPED),
    (glued_front, _ALL - {"EMAIL", "IPV6"}),
    (glued_behind, frozenset({"SSN", "PHONE_INTL", "CREDIT_CARD", "IPV4", "PHONE_US"})),
    (glued_letters, frozenset({"SSN", "CREDIT_CARD"})),
    (line_broken, frozenset({"CREDIT_CARD"})),
    (one_by_one, frozenset({"CREDIT_CARD"})),
    (spelled, frozenset({"EMAIL"})),
)


def disguises_of(kind: str) -> list[Callable[[str, Random], str]]:
    return [disguise for disguise, kinds in _EVERY if kind in kinds]
