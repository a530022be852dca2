"""What looks private and is not: values, and the texts they stand in. `{x}` is the value."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from random import Random

from tests.redaction.letters import digits, letters

_HEX = "0123456789abcdef"


def _time(r: Random) -> str:
    day = f"{r.randint(2019, 2027)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}"
    clock = f"{r.randint(0, 23):02}:{r.randint(0, 59):02}:{r.randint(0, 59):02}"
    return r.choice(
        [
            f"{day}T{clock}Z",
            f"{day} {clock}",
            f"{day}T{clock}.{digits(r, 6)}+00:00",
            f"{day}T{clock}.{digits(r, 9)}Z",
            f"{day.replace('-', '')}T{clock.replace(':', '')}Z",
            f"{day.replace('-', '')}{clock.replace(':', '')}",
            f"{r.randint(1, 28):02}/{r.randint(1, 12):02}/2026 {clock}",
            f"{r.randint(1, 28):02}.{r.randint(1, 12):02}.2026",
        ]
    )


def _epoch(r: Random) -> str:
    return str(r.randint(1_600_000_000, 1_790_000_000)) + digits(r, r.choice([0, 3, 6, 9]))


def _epoch_float(r: Random) -> str:
    return f"{r.randint(1_600_000_000, 1_790_000_000)}.{digits(r, r.choice([3, 6, 7]))}"


def _version(r: Random) -> str:
    parts = ".".join(str(r.randint(0, 40)) for _ in range(4))
    return r.choice(
        [
            f"v{parts}",
            f"version {parts}",
            f"package=={parts}",
            f"Chrome/{r.randint(80, 140)}.0.0.0 Safari/537.36",
            f"release {parts}",
            f"libfoo-{parts}.tar.gz",
            f"upgraded from version {parts} to version {parts}",
            f"Chrome/{r.randint(80, 140)}.0.{r.randint(1000, 9999)}.{r.randint(10, 200)}",
            f"{parts}-rc1",
            f"build {parts}",
            f"Section {parts}",
            f"{parts}.{r.randint(1, 9)}",
            f"driver version: {parts}",
        ]
    )


def _order(r: Random) -> str:
    return r.choice(
        [
            f"ORD-{digits(r, 8)}",
            f"order {digits(r, 10)}",
            f"#{digits(r, 9)}",
            f"INV-2026-{digits(r, 6)}",
            f"order id {digits(r, 12)}",
            f"SKU {digits(r, 5)}-{digits(r, 3)}",
            f"order-{digits(r, 3)}-{digits(r, 7)}-{digits(r, 7)}",
            f"tracking 1Z{digits(r, 3)}AA1{digits(r, 10)}",
            f"PO {digits(r, 10)}",
            f"ticket #{digits(r, 7)}",
            f"invoice {digits(r, 8)}/{digits(r, 2)}",
            f"order #{digits(r, 3)}-{digits(r, 2)}-{digits(r, 4)}",
        ]
    )


def _float(r: Random) -> str:
    return r.choice(
        [
            repr(r.random()),
            repr(r.uniform(-1e6, 1e6)),
            f"{r.random() * 1e-7!r}",
            f"{r.randint(1, 9)}.{digits(r, 17)}",
            f"[{r.random()}, {-r.random()}, {r.random()}]",
            f"{r.uniform(1, 9):.6e}",
            f"{r.randint(1, 999):,}.{digits(r, 2)}",
        ]
    )


def _hash(r: Random) -> str:
    return letters(r, r.choice([7, 8, 12, 32, 40, 40, 56, 64, 64, 128]), _HEX)


def _coordinates(r: Random) -> str:
    lat, lon = r.uniform(-90, 90), r.uniform(-180, 180)
    return r.choice(
        [
            f"{lat:.4f}, {lon:.4f}",
            f"{lat:.6f},{lon:.6f}",
            f"[{lon!r}, {lat!r}]",
            f"lat={lat:.5f}&lon={lon:.5f}",
            f"{lat:.4f} {lon:.4f}",
            f"POINT({lon:.7f} {lat:.7f})",
        ]
    )


def _isbn(r: Random) -> str:
    return r.choice(
        [
            f"ISBN 978-3-16-{digits(r, 6)}-{digits(r, 1)}",
            f"ISBN 978{digits(r, 10)}",
            f"978-0-{digits(r, 4)}-{digits(r, 4)}-{digits(r, 1)}",
            f"ISBN-10 0-{digits(r, 3)}-{digits(r, 5)}-{digits(r, 1)}",
        ]
    )


def _mac(r: Random) -> str:
    pairs = [letters(r, 2, _HEX) for _ in range(r.choice([6, 6, 6, 8, 16, 20]))]
    return r.choice([":", ":", "-"]).join(pairs)


def _price(r: Random) -> str:
    return r.choice(
        [
            f"${r.randint(1, 9_999_999):,}.{digits(r, 2)}",
            f"{r.randint(1, 999)}.{digits(r, 3)}.{digits(r, 3)},00 €",
            f"{r.randint(1, 999)} {digits(r, 3)} {digits(r, 3)} Kč",
            f"USD {r.randint(1, 99999)}.00",
            f"¥{r.randint(1000, 9_999_999)}",
        ]
    )


def _phone_like(r: Random) -> str:
    return r.choice(
        [
            f"doc-{digits(r, 10)}",
            f"id {digits(r, 10)}",
            f"PMID: {digits(r, 8)}",
            f"case {digits(r, 4)}/{digits(r, 5)}",
            f"AB{digits(r, 9)}",
            f"chat_id=-100{digits(r, 10)}",
            f"user_id: {digits(r, 9)}",
            f"row {digits(r, 10)}",
            f"{digits(r, 3)},{digits(r, 3)},{digits(r, 3)}",
            f"bytes {digits(r, 9)}-{digits(r, 9)}/{digits(r, 10)}",
            f"port {digits(r, 5)}",
            f"{digits(r, 5)}-{digits(r, 4)}",
        ]
    )


def _image(r: Random) -> str:
    return (
        "data:image/png;base64,"
        + base64.b64encode(bytes(r.randint(0, 255) for _ in range(r.randint(200, 900)))).decode()
    )


def _code(r: Random) -> str:
    n = r.randint(1, 99)
    return r.choice([
        "std::vector<int> v; a::b::c();", f"x[{n}::2]", "@app.route('/users')", "from foo.bar import baz as qux", f"W @ x.T + b[{n}:{n + 5}]",
        "password: str = Field(min_length=8)", "token = tokenizer.decode(ids)", "api_key = os.environ['API_KEY']", "npm install react@18.2.0",
        "secret = get_secret(name)", f"max_tokens={n * 10}, temperature=0.{n}", f"git checkout -b feature/{n}-fix", "def auth(token: str) -> bool:",
        f"sha256:{letters(r, 64, _HEX)}", "icon@2x.png", "git@github.com:acme/app.git", "https://user.example.com/@jane/posts",
        "password = getpass('Password: ')", "if password == confirm_password:", "Authorization: Bearer <token>", "Bearer ${TOKEN}",
        "eos_token: </s>", "next_page_token = None", "api_key=settings.API_KEY", "postgres://user:${DB_PASSWORD}@db/prod", "http://localhost:8080/@fs/x",
        "getty@tty1.service", "Basic usage: see below", "The key is to be patient.", "password must have 8 characters", "'use strict'; token.type === 'ident'",
        "Secret Santa is on Friday", "usage: tool [--token TOKEN] [--password PASSWORD]", "rate(http_requests_total[5m])", "forgot password? reset it here",
        "tokens: 1234, cost: 0.0042", "token usage: prompt_tokens=120 completion_tokens=45", "key=lambda item: item.name", "primary key (id, name)",
    ])  # fmt: skip


def _id(r: Random) -> str:
    return r.choice(
        [
            f"chatcmpl-{letters(r, 29)}",
            f"call_{letters(r, 24)}",
            f"toolu_{letters(r, 24)}",
            f"msg_{letters(r, 24)}",
            f"run-{uuid.UUID(int=r.getrandbits(128))}",
            f"req_{letters(r, 32, _HEX)}",
            f"arXiv:{r.randint(1, 26):02}{r.randint(1, 12):02}.{digits(r, 5)}",
            f"10.1145/{digits(r, 7)}.{digits(r, 7)}",
            f"arn:aws:iam::{digits(r, 12)}:role/Admin",
            f"i-{letters(r, 17, _HEX)}",
            f"task_{digits(r, 13)}",
            f"resp_{letters(r, 40, _HEX)}",
            f"00-{letters(r, 32, _HEX)}-{letters(r, 16, _HEX)}-01",
            f"projects/{digits(r, 12)}/locations/us",
            f"thread_{letters(r, 24)}",
            f'ETag: "{letters(r, 32, _HEX)}"',
            f"snowflake 1{digits(r, 17)}",
        ]
    )


def _list(r: Random) -> str:
    return r.choice([
        ", ".join(str(r.randint(0, 9999)) for _ in range(12)), " ".join(str(r.randint(0, 99)) for _ in range(16)),
        "\n".join(f"{r.randint(1, 9999)}\t{r.randint(1, 9999)}" for _ in range(6)), "|".join(digits(r, 4) for _ in range(6)),
        f"{r.randint(1, 99)}% of {r.randint(1000, 99999)} in {r.randint(1, 60)}:{r.randint(10, 59)}", f"{r.randint(1, 12)}:{r.randint(10, 59)}-{r.randint(1, 12)}:{r.randint(10, 59)}",
        f"{digits(r, 5)}-{digits(r, 4)}", "4 8 15 16 23 42", f"1920x1080 @ 60Hz, {r.randint(1, 9)}.{r.randint(1, 9)} GHz", "\n".join(digits(r, 6) for _ in range(5)),
    ])  # fmt: skip


LOOKALIKES: dict[str, Callable[[Random], str]] = {
    "TIME": _time, "EPOCH": _epoch, "EPOCH_FLOAT": _epoch_float, "UUID": lambda r: str(uuid.UUID(int=r.getrandbits(128))), "VERSION": _version,
    "ORDER": _order, "FLOAT": _float, "HASH": _hash, "COORDINATES": _coordinates, "ISBN": _isbn, "MAC": _mac, "PRICE": _price,
    "PHONE_LIKE": _phone_like, "IMAGE": _image, "CODE": _code, "ID": _id, "LIST": _list,
}  # fmt: skip

TEXTS = (
    "{x}", "See {x} for details.", '{{"value": "{x}", "ok": true}}', "INFO worker[42] handled {x} in 35 ms", "id,value\n17,{x}\n18,\n",
    "| what | value |\n|---|---|\n| last | {x} |", "The tool returned {x}, so we stop.", "> {x}\nok", "- {x}\n- second", "result = {x}",
    "<td>{x}</td>", "user: what is {x}?\nassistant: no idea", "[{x}]", "Thought: I should look at {x}\nAction: search", "{x}; {x}",
    "error near '{x}' (line 3)", "fixed in {x}, thanks!", "{{\\\"a\\\": \\\"{x}\\\"}}", "  {x}\n", "value={x}",
)  # fmt: skip
