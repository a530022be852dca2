"""Private values of every kind, made up: right check digits, the prefixes and lengths of real keys, several locales."""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Callable
from random import Random

from tests.redaction.countries import account, phone_at_home
from tests.redaction.letters import URLSAFE, WORD, digits, letters
from tests.redaction.services import key_of_service, part_of_address

_FIRST = re.findall(
    r"\S+",
    "ada joe maria chen fatima olga jean-luc priya lars akira sofia ahmed noor emil zoë jürgen andré łukasz "
    "søren nguyen kwame ines tomás",
)
_LAST = re.findall(
    r"\S+",
    "lovelace doe garcia wei hassan petrova dupont sharma nilsson tanaka rossi müller kowalski okafor o'brien",
)
_HOSTS = re.findall(
    r"\S+",
    "example.com example.org mail.example.co.uk gmail.com corp.example.de web.de université.fr exämple.de "
    "proton.me acme.io bücher.example.com mx1.internal.example.net yahoo.co.jp",
)


def ssn(r: Random) -> str:
    area = r.choice([n for n in range(1, 900) if n != 666])
    sign = r.choice("---- .")
    return f"{area:03}{sign}{r.randint(1, 99):02}{sign}{r.randint(1, 9999):04}"


def email(r: Random) -> str:
    first, last = r.choice(_FIRST), r.choice(_LAST)
    name = r.choice(
        [
            f"{first}.{last}",
            f"{first}_{last}",
            f"{first}{r.randint(1, 99)}",
            f"{first[0]}{last}",
            first,
            f"{first}+{r.choice(['news', 'test', 'aws'])}",
            f"{first}-{last}",
            f"{last}%dept",
        ]
    )
    return f"{name}@{r.choice(_HOSTS)}"


def phone_us(r: Random) -> str:
    area, exchange, line = f"{r.randint(201, 989)}", f"{r.randint(200, 999)}", digits(r, 4)
    if exchange[1:] == "11":
        exchange = "555"
    core = r.choice(
        [
            "({a}) {e}-{n}",
            "{a}-{e}-{n}",
            "{a}.{e}.{n}",
            "{a} {e} {n}",
            "({a}){e}-{n}",
            "({a}) {e} {n}",
            "{a} {e}-{n}",
        ]
    )
    prefix = r.choice(["", "", "", "+1 ", "+1-", "1-", "+1", "1 "])
    suffix = r.choice(["", "", "", "", " x{}", " ext. {}"]).format(r.randint(10, 9999))
    return prefix + core.format(a=area, e=exchange, n=line) + suffix


_PLANS = (
    "+44 20 7### ####", "+44 7### ######", "+447#########", "+49 30 ######", "+49 (0)171 #######", "+49-89-########",
    "+33 6 ## ## ## ##", "+33 1 ## ## ## ##", "+33.1.##.##.##.##", "+34 6## ### ###", "+39 06 #### ####", "+39 3## #######",
    "+31 6 ########", "+41 44 ### ## ##", "+43 1 #######", "+46 70-### ## ##", "+47 ### ## ###", "+45 ## ## ## ##",
    "+48 5## ### ###", "+420 6## ### ###", "+351 91# ### ###", "+353 87 ### ####", "+358 40 #######", "+30 69# ### ####",
    "+7 495 ###-##-##", "+380 50 ### ## ##", "+90 532 ### ## ##", "+972-54-###-####", "+971 50 ### ####", "+91 98### #####",
    "+91-98########", "+86 138 #### ####", "+81 3-####-####", "+81-90-####-####", "+82 10-####-####", "+65 9### ####",
    "+61 4## ### ###", "+61 2 #### ####", "+64 21 ### ####", "+27 82 ### ####", "+234 803 ### ####", "+55 (11) 9####-####",
    "+52 55 #### ####", "+54 9 11 ####-####", "+56 9 #### ####", "+57 3## #######", "0044 20 7### ####", "0049 30 ######",
)  # fmt: skip


def phone_international(r: Random) -> str:
    return "".join(r.choice("23456789") if sign == "#" else sign for sign in r.choice(_PLANS))


_SCHEMES = (("4", 16), ("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16),
            ("36", 14), ("3528", 16), ("62", 16))  # fmt: skip


def card_digits(r: Random) -> str:
    prefix, length = r.choice(_SCHEMES)
    body = prefix + digits(r, length - len(prefix) - 1)
    total = sum(int(d) if at % 2 else sum(divmod(2 * int(d), 10)) for at, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def card(r: Random) -> str:
    number = card_digits(r)
    sign = r.choice(["", "", " ", "-", " ", "."])
    groups = (4, 6, 5) if len(number) == 15 else (4, 6, 4) if len(number) == 14 else (4, 4, 4, 4)
    parts, at = [], 0
    for size in groups:
        parts.append(number[at : at + size])
        at += size
    return sign.join(parts)


def ipv4(r: Random) -> str:
    return r.choice([
        f"10.{r.randint(0, 255)}.{r.randint(0, 255)}.{r.randint(1, 254)}",
        f"192.168.{r.randint(0, 255)}.{r.randint(1, 254)}",
        f"{r.choice([52, 34, 203, 88, 142, 185])}.{r.randint(0, 255)}.{r.randint(0, 255)}.{r.randint(1, 254)}",
        f"172.{r.randint(16, 31)}.{r.randint(0, 255)}.{r.randint(1, 254)}",
    ])  # fmt: skip


def ipv6(r: Random) -> str:
    groups = [f"{r.randint(0x100, 0xFFFF):x}" for _ in range(8)]
    groups[0] = r.choice(["2001", "2a02", "fe80", "fd12", "2606"])
    whole = ":".join(groups)
    return r.choice([whole, whole.upper(), f"{groups[0]}:{groups[1]}::{groups[2]}", f"{groups[0]}::{groups[1]}",
                     ":".join(groups[:3]) + "::" + ":".join(groups[5:]), f"2001:db8::{r.randint(1, 0xFFFF):x}",
                     f"::ffff:{ipv4(r)}", f"fe80::{groups[3]}:{groups[4]}%eth{r.randint(0, 3)}"])  # fmt: skip


_BANKS = {"DE": "n18", "GB": "a4n14", "FR": "n10c11n2", "ES": "n20", "IT": "a1n10c12", "NL": "a4n10", "BE": "n12", "CH": "n5c12",
          "AT": "n16", "PL": "n24", "SE": "n20", "NO": "n11", "PT": "n21", "IE": "a4n14", "MT": "a4n5c18"}  # fmt: skip


def iban(r: Random) -> str:
    country = r.choice(list(_BANKS))
    body, pattern = "", _BANKS[country]
    while pattern:
        kind, rest = pattern[0], pattern[1:]
        size = rest[: len(rest) - len(rest.lstrip(string.digits))]
        pattern = rest[len(size) :]
        alphabet = {
            "n": string.digits,
            "a": string.ascii_uppercase,
            "c": string.digits + string.ascii_uppercase,
        }[kind]
        body += letters(r, int(size), alphabet)
    check = 98 - int("".join(str(int(c, 36)) for c in body + country + "00")) % 97
    number = f"{country}{check:02}{body}"
    if r.random() < 0.5:
        return " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    return number


def key_openai(r: Random) -> str:
    return r.choice(
        [
            f"sk-{letters(r, 48)}",
            f"sk-proj-{letters(r, 60, URLSAFE)}{letters(r, 4)}",
            f"sk-svcacct-{letters(r, 50)}",
            f"sk-{letters(r, 20)}T3BlbkFJ{letters(r, 20)}",
            f"sk-admin-{letters(r, 40)}",
        ]
    )


def key_anthropic(r: Random) -> str:
    return f"sk-ant-{r.choice(['api03', 'admin01', 'sid01'])}-{letters(r, 86, URLSAFE)}{letters(r, 5)}AA"


def key_aws(r: Random) -> str:
    return r.choice(["AKIA", "ASIA", "AKIA"]) + letters(r, 16, string.ascii_uppercase + "234567")


def key_aws_secret(r: Random) -> str:
    return letters(r, 40, WORD + "/+")


def key_github(r: Random) -> str:
    return r.choice(
        [
            f"{r.choice(['ghp', 'gho', 'ghs', 'ghu'])}_{letters(r, 36)}",
            f"github_pat_{letters(r, 22)}_{letters(r, 59)}",
        ]
    )


def key_slack(r: Random) -> str:
    return r.choice(
        [
            f"xoxb-{digits(r, 12)}-{digits(r, 13)}-{letters(r, 24)}",
            f"xoxp-{digits(r, 11)}-{digits(r, 11)}-{letters(r, 32)}",
            f"xapp-1-A{letters(r, 10)}-{digits(r, 13)}-{letters(r, 64, '0123456789abcdef')}",
        ]
    )


def key_google(r: Random) -> str:
    return r.choice(
        [
            f"AIza{letters(r, 34, URLSAFE)}{letters(r, 1)}",
            f"ya29.{letters(r, 100, URLSAFE)}a1",
            f"GOCSPX-{letters(r, 27, URLSAFE)}x",
        ]
    )


def key_other(r: Random) -> str:
    hexa = "0123456789abcdef"
    return r.choice([
        f"hf_{letters(r, 34)}", f"sk_live_{letters(r, 24)}", f"rk_test_{letters(r, 24)}", f"whsec_{letters(r, 32)}",
        f"SG.{letters(r, 21, URLSAFE)}a.{letters(r, 42, URLSAFE)}b", f"SK{letters(r, 32, hexa)}", f"npm_{letters(r, 36)}",
        f"pypi-AgEIcHlwaS5vcmc{letters(r, 90, URLSAFE)}z", f"glpat-{letters(r, 19, URLSAFE)}9", f"gsk_{letters(r, 52)}",
        f"{letters(r, 3)}8Q~{letters(r, 34)}", f"dapi{letters(r, 32, hexa)}", f"shpat_{letters(r, 32, hexa)}",
        f"lsv2_pt_{letters(r, 32, hexa)}_{letters(r, 10, hexa)}", f"dop_v1_{letters(r, 64, hexa)}",
        f"xai-{letters(r, 80)}", f"tvly-{letters(r, 32)}", f"pplx-{letters(r, 48)}",
    ])  # fmt: skip


def _part(r: Random, content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def jwt(r: Random) -> str:
    head = _part(r, {"alg": r.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"})
    return f"{head}.{_part(r, {'sub': digits(r, 10), 'iat': 1_700_000_000 + r.randint(0, 10**7)})}.{letters(r, 43, URLSAFE)}"


def bearer(r: Random) -> str:
    return r.choice(
        [
            letters(r, 32),
            letters(r, 40, "0123456789abcdef"),
            f"{letters(r, 20)}.{letters(r, 20)}",
            jwt(r),
            f"v1.{letters(r, 40)}",
            f"{letters(r, 24)}==",
            letters(r, 63, URLSAFE) + "a",
        ]
    )


def pem(r: Random) -> str:
    kind = r.choice(["RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "])
    lines = "\n".join(letters(r, 64, WORD + "+/") for _ in range(r.randint(3, 8)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n{letters(r, 22)}==\n-----END {kind}PRIVATE KEY-----"


def password(r: Random) -> str:
    return r.choice([
        letters(r, 12), f"{r.choice(['Tr0ub4dor', 'Hunter', 'Winter', 'correct'])}{r.randint(10, 9999)}{r.choice('!$#*')}",
        letters(r, 16, WORD + "!$*^"), f"p{letters(r, 8)}w{r.randint(0, 99)}", f"S3cure-{letters(r, 6)}", letters(r, 9) + "7",
    ])  # fmt: skip


def url_password(r: Random) -> str:
    return r.choice(
        [
            letters(r, 14),
            f"P{letters(r, 8)}%21",
            f"{letters(r, 6)}-{letters(r, 6)}",
            "hunter2",
            letters(r, 10) + "$9",
            letters(r, 24),
            f"{letters(r, 5)}#{letters(r, 5)}",
        ]
    )


#: The types of the gates, and two more: what stands under a telling name, and keys of other makers.
KINDS: dict[str, Callable[[Random], str]] = {
    "SSN": ssn, "EMAIL": email, "PHONE_US": phone_us, "PHONE_INTL": phone_international, "CREDIT_CARD": card, "IPV4": ipv4,
    "IPV6": ipv6, "IBAN": iban, "KEY_OPENAI": key_openai, "KEY_ANTHROPIC": key_anthropic, "KEY_AWS": key_aws,
    "KEY_AWS_SECRET": key_aws_secret, "KEY_GITHUB": key_github, "KEY_SLACK": key_slack, "KEY_GOOGLE": key_google,
    "KEY_OTHER": key_other, "JWT": jwt, "BEARER": bearer, "PEM_KEY": pem, "URL_PASSWORD": url_password, "PASSWORD": password,
    "PHONE_AT_HOME": phone_at_home, "IBAN_WORLD": account, "KEY_SERVICE": key_of_service, "LOGIN": password,
    "ADDRESS_SECRET": part_of_address,
}  # fmt: skip
