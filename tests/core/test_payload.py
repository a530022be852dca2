"""A payload must survive anything an agent passes around, and never give away what the redactor has not seen."""

from __future__ import annotations

import base64
import copy
import dataclasses
import datetime
import decimal
import enum
import gc
import math
import pathlib
import pickle
import socket
import threading
import time
import types
import uuid
from collections import OrderedDict, defaultdict, deque
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokentrace_core.payload import JSON, Limits, Payload, canonical_json, content_id, snapshot
from tokentrace_core.redact import Redactor
from tokentrace_core.snapshot import Walk

redactor = Redactor()
CANARY = "canary.bird@example.com"


class Exploding:
    """Every way to ask this object anything blows up."""

    def _boom(self, *args: object, **kwargs: object) -> Any:
        raise BaseException("user code ran")

    __repr__ = __str__ = __iter__ = __len__ = __hash__ = __eq__ = __bool__ = __getattr__ = __reduce__ = _boom
    __format__ = __dir__ = __getstate__ = __index__ = __float__ = __int__ = _boom

    @property
    def __class__(self) -> Any:
        raise BaseException("user code ran")

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


class LyingDict(dict[Any, Any]):
    def items(self) -> Any:
        raise BaseException("user code ran")

    __iter__ = keys = values = __len__ = __getitem__ = __repr__ = items  # type: ignore[assignment]


class LyingStr(str):
    def __str__(self) -> str:
        raise BaseException("user code ran")

    __hash__ = __eq__ = __len__ = __repr__ = isascii = __str__  # type: ignore[assignment]


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


class Point(msgspec.Struct):
    x: int
    _hidden: str = CANARY


@dataclasses.dataclass(slots=True)
class Slotted:
    name: str
    key: str = dataclasses.field(default=CANARY, repr=False)


class Model:
    """Laid out like a pydantic model."""

    __pydantic_fields__: Any = {"name": None, "boom": None}  # noqa: RUF012
    name: str

    def __init__(self) -> None:
        self.__dict__["name"] = "ada"
        self.__dict__["cached"] = CANARY

    @property
    def boom(self) -> str:
        raise BaseException("user code ran")


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(max_size=200),
    st.builds(Exploding),
    st.builds(LyingDict, st.dictionaries(st.text(max_size=3), st.integers(), max_size=3)),
    st.builds(LyingStr, st.text(max_size=5)),
    st.text(alphabet="\ud800\udfffa\x00", max_size=5),
    st.decimals(),
    st.datetimes(),
    st.uuids(),
    st.sampled_from([Colour.RED, Point(1), Slotted("a"), Model(), ValueError("x"), len, Exploding, socket]),
)
keys = st.one_of(
    st.text(max_size=5), st.integers(), st.none(), st.tuples(st.integers(), st.text(max_size=2)), st.uuids()
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.tuples(inner, inner), st.dictionaries(keys, inner, max_size=5)
    ),
    max_leaves=25,
)


def is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


@settings(max_examples=300)
@given(anything)
def test_no_object_an_agent_holds_can_break_a_span(value: Any) -> None:
    payload = Payload(value, redactor)
    assert is_plain(payload.value)
    assert msgspec.json.decode(payload.json) == msgspec.json.decode(canonical_json(payload.value))
    payload.json.encode()
    assert payload.size >= 0
    assert len(payload.id) == 32


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, "a"), [1, "a"]),
        ({1: "a", None: "b", (1, 2): "d"}, {"1": "a", "null": "b", "[1,2]": "d"}),
        ({"1": "a", 1: "b"}, {"1": "a", "1#2": "b"}),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (deque([1, 2]), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (LyingDict(a=1), {"a": 1}),
        ([LyingStr("x")], ["x"]),
        (Colour.BLUE, "blue"),
        (Colour.RED, "RED"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (math.nan, "NaN"),
        ([math.inf, -math.inf], ["Infinity", "-Infinity"]),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (1 << 100_000, {"$type": "int", "bits": 100_001}),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ("a\x00b", "a\x00b"),
        (Point(1), {"x": 1}),
        (Slotted("a"), {"name": "a"}),
        (Model(), {"name": "ada"}),
        (ValueError("no", 3), {"$type": "builtins.ValueError", "message": "no, 3"}),
        (len, {"$type": "builtins.builtin_function_or_method"}),
        (b"short", {"$blob": {"mime": "application/octet-stream", "size": 5}}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_known_types_keep_what_they_say(value: Any, plain: JSON) -> None:
    assert snapshot(value) == plain


def test_a_secret_string_type_stays_a_name() -> None:
    assert snapshot(pydantic.SecretStr(CANARY)) == {"$type": "pydantic.types.SecretStr"}

    class Real(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        name: str
        key: pydantic.SecretStr
        _private: str = CANARY

    out = snapshot(Real(name="ada", key=CANARY, more=1))
    assert out == {"name": "ada", "key": {"$type": "pydantic.types.SecretStr"}, "more": 1}


def test_a_dataclass_keeps_what_its_author_hid() -> None:
    assert CANARY not in canonical_json(snapshot([Slotted("a"), Point(1)]))


def test_cycles_and_shared_parts_are_told_apart() -> None:
    shared = [1]
    loop: dict[str, Any] = {"a": shared, "b": shared}
    loop["self"] = loop
    assert snapshot(loop) == {"a": [1], "b": [1], "self": {"$cycle": True}}


def test_every_cap_leaves_a_mark() -> None:
    assert snapshot([[[1]]], Limits(depth=2)) == [[{"$truncated": "depth"}]]
    assert snapshot([1, 2, 3], Limits(items=2)) == [1, 2, {"$truncated": "items", "count": 3}]
    assert snapshot({"a": 1, "b": 2}, Limits(items=1)) == {
        "a": 1,
        "$truncated": {"$truncated": "items", "count": 2},
    }
    assert snapshot([1, 2, 3], Limits(nodes=2)) == [1, 2, {"$truncated": "nodes", "count": 3}]
    assert snapshot(["aaa", "bbb"], Limits(total_text=4)) == ["aaa", {"$truncated": "text"}]
    assert Payload([1, 2, 3], redactor, limits=Limits(items=2)).truncated
    assert not Payload([1, 2, 3], redactor).truncated


def test_a_tree_of_a_million_leaves_is_bounded() -> None:
    tree: list[Any] = [1]
    for _ in range(6):
        tree = [tree] * 10
    assert canonical_json(snapshot(tree)).count("1") <= 20_001


def test_encoded_bytes_are_replaced_by_their_size() -> None:
    encoded = base64.b64encode(bytes(range(256)) * 40).decode()
    blob = snapshot({"image_url": f"data:image/png;base64,{encoded}", "raw": encoded, "text": "word " * 2000})
    assert isinstance(blob, dict)
    assert blob["image_url"]["$blob"]["mime"] == "image/png"
    assert blob["raw"]["$blob"]["size"] == len(encoded)
    assert blob["text"] == "word " * 2000


def test_fifty_megabytes_do_not_hold_up_the_agent() -> None:
    encoded = base64.b64encode(bytes(range(256)) * 160_000).decode()
    prose = "lorem ipsum dolor " * 2_900_000
    for value in (encoded, prose, encoded.encode(), encoded[:7_900_000]):
        started = time.thread_time()
        Payload({"content": value}, redactor)
        assert time.thread_time() - started < 0.25


def test_a_dict_that_another_thread_changes_does_not_raise() -> None:
    shared: dict[str, Any] = {}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            shared[f"k{number % 500}"] = number
            shared.pop(f"k{(number * 7) % 500}", None)

    writer = threading.Thread(target=change)
    writer.start()
    try:
        for _ in range(300):
            assert "unreadable" not in canonical_json(snapshot({"deep": shared}))
    finally:
        stop.set()
        writer.join()


def test_no_side_door_leads_to_the_raw_value() -> None:
    for value in (CANARY, {"to": [CANARY]}, {CANARY: 1}):
        for read_first in (False, True):
            payload = Payload(value, redactor)
            if read_first:
                assert CANARY not in payload.text
            with pytest.raises(TypeError):
                vars(payload)
            slots = [getattr(payload, name, None) for name in Payload.__slots__]
            doors = [
                repr(payload),
                str(payload),
                f"{payload}",
                repr(object.__getstate__(payload)),
                repr(slots),
            ]
            doors += [
                repr(payload.__getstate__()),
                repr(payload.__reduce_ex__(2)),
                pickle.dumps(payload).decode("latin1"),
            ]
            doors += [
                copy.copy(payload).text,
                copy.deepcopy(payload).json,
                pickle.loads(pickle.dumps(payload)).json,
            ]
            for encode in (msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins):
                with pytest.raises(TypeError):
                    encode(payload)
            assert not any(CANARY in door for door in doors)


def test_the_raw_value_is_gone_after_the_first_read() -> None:
    class Raw(str):
        pass

    payload = Payload({"k": "secret-raw-" + CANARY}, redactor)
    assert payload.value
    reachable = [payload]
    for _ in range(4):
        reachable = [
            o for r in reachable for o in gc.get_referents(r) if not isinstance(o, (type, types.ModuleType))
        ]
        assert not any(isinstance(o, str) and CANARY in o for o in reachable)


def test_copies_carry_the_same_facts() -> None:
    payload = Payload({"to": CANARY, "n": [1, 2]}, redactor, limits=Limits(items=1))
    other = pickle.loads(pickle.dumps(payload))
    assert (other.value, other.id, other.size, other.truncated) == (
        payload.value, payload.id, payload.size, payload.truncated,
    )  # fmt: skip


def test_later_changes_to_the_object_do_not_reach_the_record() -> None:
    messages = [{"role": "user", "content": "hi"}]
    payload = Payload(messages, redactor)
    messages[0]["content"] = "changed"
    assert payload.value == [{"role": "user", "content": "hi"}]


def test_a_failing_redactor_hides_everything() -> None:
    class Broken(Redactor):
        def redact(self, text: str) -> str:
            raise RuntimeError(text)

        def redact_value(self, value: Any) -> Any:
            raise RuntimeError(value)

    for value in (CANARY, {"k": CANARY}):
        payload = Payload(value, Broken())
        assert payload.text.startswith("[REDACTION_FAILED len=")
        assert CANARY not in payload.json + repr(payload)


@pytest.mark.parametrize("offset", range(-30, 31, 3))
def test_the_cut_never_leaves_half_a_secret(offset: int) -> None:
    text = "x" * (99 + offset) + " 4111 1111 1111 1111 " + "y" * 2_000
    payload = Payload({"a": text}, redactor, max_text=100)
    assert "4111" not in payload.json
    assert "1111" not in payload.json
    assert f"[truncated, original {len(text)} characters]" in payload.json
    assert payload.truncated


def test_a_secret_at_the_end_of_the_overlap_does_not_slide_into_view() -> None:
    text = "123-45-6789 " * 200 + "canary"
    for filler in range(30):
        out = Payload("z" * filler + text, redactor, max_text=300).text
        assert "123" not in out.split(" …[")[0].replace("[SSN_REDACTED]", "")


def test_a_rule_that_rewrites_the_mark_does_not_undo_the_cut() -> None:
    own = Redactor({"NUMBER": "[0-9]+", "MARK": "truncated"})
    out = Payload("secret " * 1_000, own, max_text=50).text
    assert len(out) < 120


def test_text_just_over_the_limit_keeps_all_of_the_limit() -> None:
    assert (
        Payload("a" * 105, redactor, max_text=100).text
        == "a" * 100 + " …[truncated, original 105 characters]"
    )
    assert Payload("a" * 100, redactor, max_text=100).text == "a" * 100
    assert Payload("a b" * 900, redactor, max_text=0).text == " …[truncated, original 2700 characters]"


def test_size_is_that_of_the_original() -> None:
    assert Payload("ä" * 10, redactor).size == 20
    assert Payload("a" * 5_000, redactor, max_text=10).size == 5_000
    assert Payload({"a": 1}, redactor).size == 7


def test_a_payload_that_waits_to_be_read_keeps_the_snapshot_and_not_who_made_it() -> None:
    waiting = [Payload({"number": [number]}, Redactor()) for number in range(20)]
    assert not [one for one in gc.get_objects() if type(one) is Walk]
    assert [one.value for one in waiting] == [{"number": [number]} for number in range(20)]


def test_equal_content_has_one_id_whatever_the_order_of_its_keys() -> None:
    one, two = Payload({"a": 1, "b": [2]}, redactor), Payload({"b": (2,), "a": 1}, redactor)
    assert one.id == two.id == content_id('{"a":1,"b":[2]}')
    assert Payload({"a": 2}, redactor).id != one.id
    assert Payload("text", redactor).text == "text"
    assert Payload("text", redactor).json == '"text"'


def test_canonical_json_of_odd_values_does_not_raise() -> None:
    for value in (object(), {1 << 70: "x"}, "\ud800", [{1, 2}]):
        assert isinstance(canonical_json(value), str)


def test_threads_that_read_at_once_read_the_same() -> None:
    payloads = [Payload({"to": CANARY, "n": number}, redactor) for number in range(300)]
    seen: list[list[str]] = []
    readers = [threading.Thread(target=lambda: seen.append([p.json for p in payloads])) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert all(texts == seen[0] for texts in seen)
    assert len(seen) == 8
    assert CANARY not in "".join(seen[0])
