"""Texts built to make a redactor slow: what each rule looks for, repeated without end, nearly right, or never closed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from tests.redaction.secrets import KINDS

#: What is repeated, by the rules that it is aimed at.
FRAGMENTS: dict[str, tuple[str, ...]] = {
    "makers' keys": (
        'sk-', 'sk-a', 'sk-aaaaaaaaaaaaaaaaaa.', 'sk-proj-', 'sess-', 'AKIA', 'AKIAAAAA', 'ghp_',
        'ghp_aaaaaaaaaaaaaaaa.', 'glpat-', 'glpat-.', 'glpat-aaaaaaaaaaaaaaaaaaaa/', 'xoxb-', 'xapp-', 'xoxa.xoxb-',
        'AIza', 'ya29.', 'GOCSPX-', '1//0', 'hf_', 'sk_live_', 'whsec_', 'whsec_=', 'SG.', 'SG.aaaaaaaaaaaaaa.', 'AC',
        'SK', 'SK0', 'npm_', 'pypi-', 'key-', 'dapi', 'do', 'dop_v1_', 'shpat_', 'ATATT3', 'gsk_', 'xai-', 'fw_',
        'lin_api_', 'hvs.', 'dp.pt.', 'NRAK-', 'sq0abc-',
    ),
    'web tokens, bots, URLs': (
        'eyJ', 'eyJ.', 'eyJa.', 'eyJaaaaaa.', 'eyJaaaaaaaaaaaaaaaaa.', 'eyJhbGciO', 'eyJaaaaaa.aaa.',
        'Maaaaaaaaaaaaaaaaaaaaaaa.', 'Maaaaaaaaaaaaaaaaaaaaaaa.aaaaaa.', '12345678:AA', ':AAaaaaaaaaaaaaaaaa',
        'aaa8Q~', 'Q~', 'hooks.slack.com/services/', 'hooks.slack.com/services/aaaaaaaaaaaaaaa/', 'curl -u ',
        ' -u a:', ' --user=', '://', '://a:', '://a:b', '://a:@', '://:@@', '://a:b@', '://a:b@c', '://a:${A}@',
    ),
    'private keys': (
        '-----BEGIN PRIVATE KEY-----', '-----BEGIN ', '-----BEGIN A ', 'BEGIN PRIVATE KEY', 'PRIVATE KEY',
        '-----BEGIN PRIVATE KEY-----\naaaa', '-----BEGIN PRIVATE KEY----- ', '-----', '-',
        '-----BEGIN PRIVATE KEY-----aaaaaaaaaaaaaaa', '-----END PRIVATE KEY-----',
    ),
    'labels': (
        'password', 'password=', 'password:', 'password=a(', 'password="', "password='", 'password="""',
        "password='''", 'password:\\\\"', 'password:\\\\\\\\\\\\\\\\"', '"password":[', '"password":{"',
        '"password":{[(', '"password":["', '"password":["\\\\', '"password":("a",', 'pwd=', 'pwd=a(', 'pwd:',
        'token=a(', 'token=token.', 'token=', 'token=a=', 'token:', 'token,,', 'token:{', '"token":', '"token":"',
        'api_key=a.b(', 'secret=', 'secret=x,', 'secret=x&a=', 'auth:', 'authorization:', 'authorization:a',
        'authorization=(', 'authorization:(', 'authorization=aaaa,', 'cookie:', 'cookie=a', 'cookie:a=b', 'cookie:(',
        'cookie:{', 'bearer', 'bearer+', 'bearer:', 'bearer ', 'bearer a', 'bearer:a1', 'bearer+aaaa.',
        'the password is ', 'password is a ', 'key', 'key=', 'key ', 'mot de passe', '--token ', '--password=',
        'password ', '\u043f\u0430\u0440\u043e\u043b\u044c:', '\u5bc6\u7801', '\u5bc6\u7801:', 'password||',
        '|password|', '>password>', '<password>', '<password>a', 'password=${A}', 'password=<a>', 'password=%s',
        'password=...', 'auth=', 'credentials=', 'creds', 'cred', 'password=,password=', 'password=;a', 'pass_',
        'passpass', 'ken', 'key-pass-', 'kenpass', 'bearer token ',
    ),
    'e-mail': (
        '@', 'a@', '@a', '@a.', '@a.b', 'a@b', 'a@b.', 'a@b.c', 'a@b.co', 'a@b.co(', '@a.a.a.a.a.a.a.a.a.a.a',
        "'a'@a.co", '"a"@b.co', '"@', '@[', '@[IPv6:', '[at]', 'a[at]b.', 'a[at]b.c', '(at)', '{at}a', 'at]', ' at ',
        ' dot ', ' at a dot ', 'a dot ', '@ ', ' @ ', 'a. @ b.com ', 'a @ b.com ', '  [at]a.b', '[ at ]', '%a@',
        '://a@b.co', '://a@b.co ', 'git@a.co ', 'a@a.png ', '@localhost', 'a@localhost ',
    ),
    'addresses of machines': (
        ':', '::', ':::', '1:', 'f:', 'f::', 'ffff:', 'ffff::', ':ffff:', '1::2.', '::1.2.3.4', '1:2:3:4:5:6:7:8',
        '1:2:3:4:5:6:7:8 ', 'abcd::', '1.1.1.', '1.1.1.1', '1.1.1.1.', '1.1.1.1 ', '.1.1.1.', '999.999.999.999 ',
        'v1.1.1.1 ', 'version 1.1.1.1 ', '10.0.0.1 ', '10.0.0.1,', '999.1.1.1-', 'A/1.1.1.1 ',
    ),
    'digits': (
        '1', '12', '1-', '1.', '1 ', '1/', '1_', '1+', '1(', '(1', '(1)', '1)', '11 ', '111-', '111-11-1111',
        '111-11-1111-', '111 11 1111 ', '000-11-1111 ', '666-11-1111 ', 'order 111-11-1111 ', 'ssn 111-11-111 ',
        '111-111-1111 ', '111-111-1111-', 'order 222-222-2222 ', '(111)111-1111', '(222) 222-2222', '+1', '+1 ', '+',
        '+1-', '+49 ', '+12345678 ', '+123456789', '+4930123456 ', 'a+4930123456 ', '+0', '001', '00', '0049',
        '004930123456 ', '0049 30 123456,', '0', '0 ', '0301 234567 ', '0301 23456789,', '0301-234-567 ',
        '01 23 45 67 89 ', '030 111 222 333 444 ', '(030) 123 4567 ', '(11) 9999-9999 ', '138 1234 5678 ',
        '8 (123) 456-78-90 ', 'phone ', 'phone 1', 'phone 1234567 ', 'tel 1 ', 'tel:12345678', '4111',
        '4111111111111111', '4111111111111111 ', '4111111111111112 ', '4111 ', '4111 1111 1111 1112 ', '4-1-1-1-',
        '4111\n', '41111111\n', '4\n', '4111 1111\n>', '4111-1111\\n', '411111111111111\n1\n', 'a4111111111111112a',
        '1111111111111112,', '378282246310006 ', '123456789 ', 'ssn123456789', 'tax 123456789 ', '4.111111111111111 ',
    ),
    'accounts': (
        'DE11', 'DE11 ', 'DE89370400440532013001', 'DE89370400440532013001 ', 'DE89 3704 0044 0532 0130 01 ',
        'de89370400440532013001 ', 'iban DE11', 'AA11', 'AA11 ', 'de11 ', 'de11bank1234 ', 'NO11111111111111 ',
        'iban',
    ),
    'escapes': (
        '%', '%4', '%41', '%25', '%2541', '%252541', '%c3%a9', '%e2%82%ac', '&', '&#', '&#4', '&#49;', '&#x',
        '&#x31;', '&amp;', '&amp;amp;', '&amp;#49;', '&a', '&lt;', '&aaaaaaaaaaaaaaaaaaaaaaaa', '\\\\', '\\\\\\\\',
        '\\\\u', '\\\\u0041', '\\\\x41', '\\\\u{41}', '\\\\\\\\u0041', '\\\\/', '\\\\n', '\\\\r\\\\n', '\\\\"',
        "\\\\'", '\\\\\\\\"', '\\\\u005cu0041', '\\\\u005c', '\u200b', '\u200b1', '\uff11', '\uff21', '\xa0',
        '\u3000', '\U0001d7d8', '\uff41', '\xe9', '\uff20', '\uff05\uff14\uff11',
    ),
    'structures': (
        '[', ']', '{', '}', '(', ')', '<', '>', '"', "'", '`', '[SSN_REDACTED]', '[SSN_REDACTED',
        '[REDACTION_FAILED len=', '[REDACTION_FAILED len=1', '[REDACTION_FAILED len=1]', '[HASH_', '[HASH_0',
        '[DROPPED len=1]', '\\0', '\\0a', '\\0@', 'a\\0b@c.co', '[[', '["', '{"', '{"a":', '{"a":[', '{"a":1,',
        '{"a":"', '"a":', '["password",', '{"password":', '{"name":"password","value":"a"},', '{\\\\"a\\\\":{', '\n',
        '\n>', '\n  ', '~', '_', '-', '.', ',', ';', '|', '=', '+', '/', '/a/', 'a', 'aA', 'A', 'a-', 'aB3', 'aB3+',
        'aB3/', 'aaaaaaaaaaaaaaaa', 'aaaaaaaaaaaaaaa.', 'aaaaaaaaaaaaaaaa.', 'aaaaaaaaaaaaaaaa/',
        'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'aBcDeFgHiJ1kLmNoPqRsTuVwXyZ0123456789+aB ',
        'data:image/png;base64,', 'xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx', '550e8400-e29b-41d4-a716-446655440000 ',
        '\x00', '\x00a', '\x00@', 'a\x00b@c.co', '\r\n', '\t',
    ),
}  # fmt: skip
_ALL = [fragment for fragments in FRAGMENTS.values() for fragment in fragments]
_SEPARATORS = ("", "", "", " ", "\n", ",", '"')


def repeated(fragment: str, length: int) -> str:
    return (fragment * (length // len(fragment) + 1))[:length]


def mixed(r: Random, length: int) -> str:
    """A few fragments and secrets in turn, as they are or as a document's text."""
    unit = r.choice(_SEPARATORS).join(_piece(r) for _ in range(r.randint(2, 6))) + r.choice(_SEPARATORS)
    text = r.choice(("", "", "[", '{"password":"x y z",')) + repeated(unit or "-", length)
    return json.dumps({"password": "x y z", "text": text[: length * 3 // 4]}) if r.random() < 0.2 else text


def _piece(r: Random) -> str:
    kind = r.random()
    if kind < 0.75:
        return r.choice(_ALL) * (r.randint(2, 30) if r.random() < 0.1 else 1)
    return (
        r.choice(list(KINDS.values()))(r)
        if kind < 0.85
        else r.choice("aA1 .-:@+()[]{}\"'\\\n,x_%&;=/|<>`~$*#")
    )


def documents(length: int) -> Iterator[tuple[str, Any]]:
    """Deep, wide and nested JSON in which a telling name has everything looked at, and values of that shape."""
    rows = range(length // 20)
    whole: dict[str, Callable[[], Any]] = {
        "words": lambda: [f"w{row:x}" for row in rows],
        "mailboxes as keys": lambda: {f"ada{row}@example.com": row for row in rows},
        "telling keys": lambda: [{"password": f"a{row}"} for row in rows],
        "telling keys of numbers": lambda: [{"token": row} for row in rows],
        "numbers of phones": lambda: [{"phone": 1_000_000 + row} for row in rows],
        "phones": lambda: [{"phone": f"0301 {1_000_000 + row}"} for row in rows],
        "headers": lambda: [["Authorization", f"x{row}"] for row in rows],
        "documents in a document": lambda: [json.dumps({"password": f"w w{row}"}) for row in rows],
    }
    for name, make in whole.items():
        yield name, make()
        yield f"{name}, as a text", json.dumps([{"password": "a b"}, make()])
    inner: Any = {"password": "a b", "rows": [f"w{row}" for row in rows]}
    for _ in range(4):
        inner = {"password": "q w", "text": json.dumps(inner)}
    yield "JSON in JSON in JSON", json.dumps(inner)[:length]
    yield "lists in lists", '[{"password":"a b"},' + "[" * (length // 2) + "]" * (length // 2) + "]"
    yield "objects in objects", '{"password":' * (length // 13) + "1" + "}" * (length // 13)
    yield "long names", {"password" * (length // 8): 1, "a" * length: "b"}
