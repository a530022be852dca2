"""Texts that nobody needs any more go, while others write.

Messages are shared by all who sent them. So when calls go, or are past their time, the texts that they lead to are first
only `forsake`n; a `Sweep` then looks through the calls and prompts that remain, and takes what none of them leads to.
That is many transactions, and between them others write calls that lead to texts which seemed free. So a sweep
begins by taking the next `generation`: from then on every writer forgets which texts it knows to be in the file, and
notes those that it writes or meets again in `in_use`. A sweep that is overtaken by another (`Overtaken`) stops at its next
piece; what it had left to do still stands in `forsaken`, also for one that was killed.
"""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Literal

from tokentrace_core.store.pieces import Pieces, Progress

Because = Literal["deleted", "silenced"]

_CALLS = 10_000
_PROMPTS = 20_000
_RUNS = 100
_TEXTS = 500

#: All prompts above those of some calls (c), with their messages, answers and tools.
_LED_TO = """
    with recursive
    of as (select c.prompt_id, c.output_id, c.tools_id from {calls}),
    path(id) as (
        select prompt_id from of where prompt_id is not null
        union select p.parent_id from path join prompts p on p.id = path.id where p.parent_id is not null {unless}
    )
    select id {also} from path
    union select p.message_id {also} from path join prompts p on p.id = path.id
    union select output_id {also} from of where output_id is not null
    union select tools_id {also} from of where tools_id is not null
"""
_FORSAKE = "insert or ignore into forsaken (id, because) " + _LED_TO.format(
    calls="main.llm_calls c where c.run_id in (select value from json_each(:runs))",
    also=", :because",
    unless="",
)
#: A prompt above one that is marked is marked, too.
_MARK_YOUNG = "insert or ignore into temp.needed " + _LED_TO.format(
    calls="main.runs r join main.llm_calls c on c.run_id = r.id where r.rowid > ? and r.rowid <= ? and r.expired is null",
    also="",
    unless="and not exists (select 1 from temp.needed n where n.id = p.parent_id)",
)
_DELETED = "exists (select 1 from forsaken f where f.because = 'deleted' and f.id = {0})"
_MARK_CALLED = "insert or ignore into temp.needed " + " union ".join(
    f"select {name} from main.llm_calls where rowid > :after and rowid <= :end and {_DELETED.format(name)}"
    for name in ("prompt_id", "output_id", "tools_id")
)
_MARK_BELOW = "insert or ignore into temp.needed " + " union ".join(
    f"select {name} from prompts p where id > :after and id <= :end"
    f" and {_DELETED.format(f'p.{name}')} and not {_DELETED.format('p.id')}"
    for name in ("parent_id", "message_id")
)
#: What is above a needed prompt is needed, and so are their messages.
_MARK_ABOVE = """
    insert or ignore into temp.needed
    with recursive path(id) as (
        select n.id from temp.needed n join prompts p on p.id = n.id
        union select p.parent_id from path join prompts p on p.id = path.id where p.parent_id is not null
    )
    select id from path union select p.message_id from path join prompts p on p.id = path.id
"""
_FREE = """
    select f.id from forsaken f where f.because = ? and f.id > ? and f.id <= ?
    and not exists (select 1 from temp.needed n where n.id = f.id)
    and not exists (select 1 from in_use u where u.id = f.id)
"""
_BLANK = """
    update messages set expired = 1, body = json_object('role', role, 'content', '[expired: ' || bytes || ' bytes]')
    where expired is null and id in
"""


class Overtaken(RuntimeError):
    """Another process has begun a sweep of its own."""


def forsake(connection: sqlite3.Connection, runs: str, because: Because) -> None:
    """Note which texts the calls of these runs (a JSON list of ids) lead to, before these go."""
    connection.execute(_FORSAKE, {"runs": runs, "because": because})


def has_to_be_done(connection: sqlite3.Connection) -> bool:
    """Whether there are forsaken texts, or a sweep that has not said it is done, of this process or of one that was killed."""
    left = "exists (select 1 from forsaken) or exists (select 1 from sweeps where beat_at is not null)"
    return bool(connection.execute(f"select {left}").fetchone()[0])


def is_at_work(connection: sqlite3.Connection, within_s: float = 60.0) -> bool:
    """Whether a sweep has done something within this time."""
    [beat_at] = connection.execute("select beat_at from sweeps").fetchone()
    return beat_at is not None and abs(_now_us() - beat_at) < within_s * 1_000_000


class Sweep:
    """One sweep, begun in a transaction of the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._file = connection
        connection.execute("delete from in_use")
        [self._generation] = connection.execute(
            "update sweeps set generation = generation + 1, beat_at = ? returning generation", [_now_us()]
        ).fetchone()

    def pieces(self) -> Pieces:
        """Silence what only old runs have said, then delete what nobody leads to."""
        if self._forsaken("silenced"):
            self._begin_marking()
            yield from self._in_ranges("runs", _RUNS, "texts still needed", _MARK_YOUNG)
            yield from self._take("silenced", "texts", _BLANK)
        if self._forsaken("deleted"):
            self._begin_marking()
            yield from self._in_ranges("llm_calls", _CALLS, "calls that remain", _MARK_CALLED)
            yield from self._in_ranges("prompts", _PROMPTS, "prompts that remain", _MARK_BELOW)
            self._beat()
            self._file.execute(_MARK_ABOVE)
            yield from self._take(
                "deleted", "texts", "delete from messages where id in", "delete from prompts where id in"
            )
        self._beat()
        self._file.execute("update sweeps set beat_at = null")
        self._file.execute("delete from in_use")
        yield Progress("texts", 1, 1)

    def _beat(self) -> None:
        """Still the one that sweeps, and at work."""
        noted = self._file.execute(
            "update sweeps set beat_at = ? where generation = ?", [_now_us(), self._generation]
        )
        if not noted.rowcount:
            raise Overtaken("another process has begun to delete in this file; it will do this, too")

    def _forsaken(self, because: Because) -> int:
        sql = "select count(*) from forsaken where because = ?"
        return int(self._file.execute(sql, [because]).fetchone()[0])

    def _begin_marking(self) -> None:
        self._file.execute("drop table if exists temp.needed")
        self._file.execute("create temp table needed (id text primary key) without rowid")

    def _in_ranges(self, table: str, size: int, doing: str, sql: str) -> Pieces:
        """By place in the table, up to where it ends now: what comes later is in use."""
        key = "id" if table == "prompts" else "rowid"
        place: int | str = "" if key == "id" else 0
        of, last = self._file.execute(f"select count(*), max({key}) from main.{table}").fetchone()
        page = f"select {key} as k from main.{table} where {key} > ? and {key} <= ? order by {key} limit ?"
        done = 0
        while True:
            self._beat()
            end, count = self._file.execute(
                f"select max(k), count(*) from ({page})", [place, last, size]
            ).fetchone()
            if not count:
                return
            self._file.execute(sql, [place, end] if sql is _MARK_YOUNG else {"after": place, "end": end})
            place, done = end, done + count
            yield Progress(doing, min(done, of), of)

    def _take(self, because: Because, doing: str, *statements: str) -> Pieces:
        """Do this to the forsaken texts that are free, and forget about all of them."""
        of, done = self._forsaken(because), 0
        while True:
            self._beat()
            page = "select id from forsaken where because = ? order by id limit ?"
            [end, count] = self._file.execute(
                f"select max(id), count(*) from ({page})", [because, _TEXTS]
            ).fetchone()
            if not count:
                return
            free = as_list([row[0] for row in self._file.execute(_FREE, [because, "", end])])
            for statement in statements:
                self._file.execute(f"{statement} (select value from json_each(?))", [free])
            self._file.execute("delete from forsaken where because = ? and id <= ?", [because, end])
            done += count
            yield Progress(doing, done, of)


def as_list(ids: list[str]) -> str:
    """Ids for `in (select value from json_each(?))`."""
    return json.dumps(ids)


def _now_us() -> int:
    return time.time_ns() // 1_000
