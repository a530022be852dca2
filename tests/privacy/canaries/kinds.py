"""The forty kinds of secrets, made up anew in every run of the tests.

A kind gives a text as people and programs write such a secret, with the name it goes by where nobody could tell it
without one, and the part of it that nobody else has: the core, which must not come out again, nor a piece of it.
"""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tests.redaction import secrets

_LOWER = string.ascii_lowercase
_ALPHABET = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


class Secret(NamedTuple):
    """`text` is what the agent's program has in its hands, `core` the part that is the secret."""

    text: str
    core: str


Make = Callable[[Random], Secret]


def _ssn(separator: str) -> Make:
    def make(r: Random) -> Secret:
        area = r.choice([number for number in range(1, 900) if number != 666])
        number = separator.join((f"{area:03}", f"{r.randint(1, 99):02}", f"{r.randint(1, 9999):04}"))
        return Secret(number, number)

    return make


def _email(pattern: str) -> Make:
    def make(r: Random) -> Secret:
        name = secrets.letters(r, 9, _LOWER)
        return Secret(pattern.format(name), name)

    return make


def _phone(pattern: str) -> Make:
    """`#`: any digit but 0 and 1, so that every number could have been given out."""

    def make(r: Random) -> Secret:
        number = "".join(r.choice("23456789") if sign == "#" else sign for sign in pattern)
        return Secret(number, number)

    return make


def _card(prefix: str, groups: tuple[int, ...], separator: str) -> Make:
    def make(r: Random) -> Secret:
        body = prefix + secrets.digits(r, sum(groups) - len(prefix) - 1)
        doubled = (int(d) if at % 2 else sum(divmod(2 * int(d), 10)) for at, d in enumerate(reversed(body)))
        number = body + str(-sum(doubled) % 10)
        starts = [sum(groups[:place]) for place in range(len(groups))]
        written = separator.join(number[at : at + size] for at, size in zip(starts, groups, strict=True))
        return Secret(written, written)

    return make


def _ipv4(r: Random) -> Secret:
    address = (
        f"{r.choice([52, 34, 142, 185])}.{r.randint(100, 249)}.{r.randint(100, 249)}.{r.randint(100, 249)}"
    )
    return Secret(address, address)


def _ipv4_private(r: Random) -> Secret:
    address = f"10.{r.randint(100, 249)}.{r.randint(100, 249)}.{r.randint(100, 249)}"
    return Secret(address, address)


def _ipv6(r: Random) -> Secret:
    address = ":".join(["2a02", *(f"{r.randint(0x1000, 0xFFFF):x}" for _ in range(7))])
    return Secret(address, address)


def _iban(country: str, body: str, gap: str) -> Make:
    def make(r: Random) -> Secret:
        own = "".join(r.choice(string.digits if sign == "n" else string.ascii_uppercase) for sign in body)
        check = 98 - int("".join(str(int(sign, 36)) for sign in own + country + "00")) % 97
        number = f"{country}{check:02}{own}"
        written = gap.join(number[at : at + 4] for at in range(0, len(number), 4))
        return Secret(written, written)

    return make


def _key(prefix: str, length: int, alphabet: str = _ALPHABET, name: str = "") -> Make:
    """A key that begins as all of its maker's do, or one that only its name tells."""

    def make(r: Random) -> Secret:
        own = secrets.letters(r, length, alphabet)
        return Secret(f"{name}{prefix}{own}", own)

    return make


def _slack(r: Random) -> Secret:
    own = secrets.letters(r, 24)
    return Secret(f"xoxb-{secrets.digits(r, 12)}-{secrets.digits(r, 13)}-{own}", own)


def _sendgrid(r: Random) -> Secret:
    own = secrets.letters(r, 43)
    return Secret(f"SG.{secrets.letters(r, 22)}.{own}", own)


def _jwt(r: Random) -> Secret:
    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    claims = part({"iat": 1_700_000_000 + r.randint(0, 10**7), "sub": secrets.letters(r, 40)})
    return Secret(f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{claims}.{secrets.letters(r, 43)}", claims[-40:])


def _pem(r: Random) -> Secret:
    own = secrets.letters(r, 64)
    lines = [secrets.letters(r, 64), own, secrets.letters(r, 22) + "=="]
    return Secret(
        "\n".join(("-----BEGIN RSA PRIVATE KEY-----", *lines, "-----END RSA PRIVATE KEY-----")), own
    )


def _named(pattern: str, length: int = 16) -> Make:
    def make(r: Random) -> Secret:
        own = secrets.letters(r, length - 1) + r.choice(string.digits)
        return Secret(pattern.format(own), own)

    return make


KINDS: dict[str, Make] = {
    "SSN": _ssn("-"),
    "SSN with spaces": _ssn(" "),
    "e-mail": _email("{}@example.com"),
    "e-mail with a tag": _email("{}+news@mail.example.co.uk"),
    "phone, US": _phone("(415) 2##-####"),
    "phone, US with dots": _phone("+1 212.5##.####"),
    "phone, German": _phone("+49 30 ########"),
    "phone, British": _phone("+44 7911 ######"),
    "card, Visa": _card("4", (16,), ""),
    "card, Mastercard": _card("55", (4, 4, 4, 4), " "),
    "card, American Express": _card("37", (4, 6, 5), "-"),
    "IPv4": _ipv4,
    "IPv4 of a home": _ipv4_private,
    "IPv6": _ipv6,
    "IBAN, German": _iban("DE", "n" * 18, ""),
    "IBAN, British": _iban("GB", "aaaa" + "n" * 14, " "),
    "key of OpenAI": _key("sk-proj-", 64),
    "key of OpenAI, older": _key("sk-", 48),
    "key of Anthropic": _key("sk-ant-api03-", 93),
    "key of AWS": _key("AKIA", 16, string.ascii_uppercase + "234567"),
    "secret of AWS": _key("", 40, name="aws_secret_access_key="),
    "token of GitHub": _key("ghp_", 36),
    "fine-grained token of GitHub": _key("github_pat_", 82),
    "token of Slack": _slack,
    "app token of Slack": _key("xapp-1-A0123456789-1234567890123-", 64, _HEX),
    "key of Google": _key("AIzaSy", 33),
    "token of Google": _key("ya29.", 100),
    "token of Hugging Face": _key("hf_", 34),
    "key of Stripe": _key("sk_live_", 24),
    "key of SendGrid": _sendgrid,
    "token of npm": _key("npm_", 36),
    "token of PyPI": _key("pypi-AgEIcHlwaS5vcmc", 90),
    "token of GitLab": _key("glpat-", 20),
    "JWT": _jwt,
    "bearer": _named("Authorization: Bearer {}", 40),
    "private key": _pem,
    "password in a URL": _named("postgres://app:{}@db.example.com:5432/orders"),
    "password": _named("password: {}"),
    "secret in JSON": _named('{{"client_secret": "{}"}}'),
    "cookie": _named("Cookie: session_token={}", 32),
}
