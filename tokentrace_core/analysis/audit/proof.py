"""The SQL that proves a finding: it runs as it is in any SQLite shell, and works the dollars out from the file's own rows.

Each line of its list names a call and which of its tokens are claimed, by what was paid for them; the query joins that to the
call as it was recorded and to the rates per token. So a reader sees, call by call, what was paid, for what, and what is left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from tokentrace_core.analysis.audit.account import Waste

_UNSAFE = re.compile(r"[^ -~]|--|[*]/")


def sql(title: str, wastes: Sequence[Waste]) -> str:
    """A row per call: run_id, id, what was recorded, wasted_tokens, wasted_nano_usd."""
    comment = _UNSAFE.sub(" ", title)
    parts = [waste for waste in wastes if waste.tariff is not None]
    whole = [list(waste.key) for waste in wastes if waste.tariff is None]
    if whole:
        return _WHOLE.format(title=comment, claims=_lines(whole))
    places = {tariff: place for place, tariff in enumerate(dict.fromkeys(waste.tariff for waste in parts))}
    claims = [[*waste.key, places[waste.tariff], *waste.zones, waste.premium, _way(waste)] for waste in parts]
    return _PARTS.format(
        title=comment, claims=_lines(claims), rates=_lines([list(tariff or ()) for tariff in places])
    )


def _way(waste: Waste) -> int:
    """What should have become of the tokens: 0 never sent, 1 read from the cache, 2 sent to another model."""
    return 1 if waste.cached else 0 if waste.tokens else 2


def _lines(rows: Sequence[Sequence[object]]) -> str:
    """A JSON list in a SQL string, a row per line."""
    texts = (json.dumps(row, separators=(",", ":")) for row in rows)
    return "'[" + ",\n".join(texts).replace("'", "''") + "]'"


_WHOLE = """-- {title}: calls that should not have been made
with claimed as (select value ->> 0 as run_id, value ->> 1 as id from json_each({claims}))
select c.run_id, c.id, coalesce(c.model, c.model_answered) as model, c.status,
       datetime(c.started_at / 1000000, 'unixepoch') as at, c.prompt_id,
       coalesce(c.input_uncached_tokens, 0) + coalesce(c.cache_read_tokens, 0) + coalesce(c.cache_write_5m_tokens, 0)
           + coalesce(c.cache_write_1h_tokens, 0) + coalesce(c.output_tokens, 0) as wasted_tokens,
       coalesce(c.cost_nano_usd, 0) as wasted_nano_usd
from claimed join llm_calls c on c.run_id = claimed.run_id and c.id = claimed.id
order by c.started_at, c.run_id, c.id;
"""
_PARTS = """-- {title}
-- claimed: run, call, rates, tokens claimed (uncached, read, written 5m, written 1h, output), cache writing that
-- would have been paid, what should have become of the tokens (0 never sent, 1 read from the cache, 2 sent to another model,
-- then the rates are the difference)
-- rates: pico-dollars per token (uncached, read, written 5m, written 1h, output)
with claims as (select value as claimed from json_each({claims})),
     rates as (select key as place, value as rate from json_each({rates}))
select c.run_id, c.id, coalesce(c.model, c.model_answered) as model,
       datetime(c.started_at / 1000000, 'unixepoch') as at,
       c.input_uncached_tokens, c.cache_read_tokens, c.output_tokens, c.cost_nano_usd,
       ((claimed ->> 3) + (claimed ->> 4) + (claimed ->> 5) + (claimed ->> 6) + (claimed ->> 7)) * ((claimed ->> 9) < 2)
           as wasted_tokens,
       ((claimed ->> 3) * (rate ->> 0) + (claimed ->> 4) * (rate ->> 1) + (claimed ->> 5) * (rate ->> 2)
           + (claimed ->> 6) * (rate ->> 3) + (claimed ->> 7) * (rate ->> 4)
           - ((claimed ->> 9) = 1) * ((claimed ->> 3) + (claimed ->> 5) + (claimed ->> 6)) * (rate ->> 1)
           - (claimed ->> 8) * max(0, (rate ->> 2) - (rate ->> 0))) / 1000 as wasted_nano_usd
from claims join rates on rates.place = (claimed ->> 2)
join llm_calls c on c.run_id = (claimed ->> 0) and c.id = (claimed ->> 1)
order by c.started_at, c.run_id, c.id;
"""
