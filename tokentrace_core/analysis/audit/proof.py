"""The SQL that proves a finding: it runs as it is in any SQLite shell, and works the dollars out from the file's own rows.

Each line of its list names a call and which of its tokens are claimed, by what was paid for them; the query joins that to the
call as it was recorded and to the rates per token. So a reader sees, call by call, what was paid, for what, and what is left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from tokentrace_core.analysis.audit.account import Waste
from tokentrace_core.analysis.audit.rates import Tariff

_UNSAFE = re.compile(r"[^ -~]|--|[*]/")


def sql(title: str, wastes: Sequence[Waste]) -> str:
    """A row per call: run_id, id, what was recorded, wasted_tokens, wasted_nano_usd."""
    tariffs: dict[Tariff, int] = {}
    claims = []
    for waste in wastes:
        rates = tariffs.setdefault(waste.tariff, len(tariffs)) if waste.tariff else -1
        claims.append(
            [*waste.call.key, rates, *(waste.zones or (0, 0, 0, 0, 0)), waste.premium, int(waste.cached)]
            if rates >= 0
            else [*waste.call.key, rates, waste.tokens, waste.nano]
        )
    if any(waste.tariff is not None for waste in wastes):
        return _PARTS.format(
            title=_UNSAFE.sub(" ", title),
            claims=_lines(claims),
            rates=_lines([list(rates) for rates in tariffs]),
        )
    return _WHOLE.format(title=_UNSAFE.sub(" ", title), claims=_lines([claim[:2] for claim in claims]))


def _lines(rows: list[list[object]]) -> str:
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
-- would have been paid, whether the tokens would still be sent and read from the cache
-- rates: pico-dollars per token (uncached, read, written 5m, written 1h, output)
with claims as (select value as claimed from json_each({claims})),
     rates as (select key as place, value as rate from json_each({rates}))
select c.run_id, c.id, coalesce(c.model, c.model_answered) as model,
       datetime(c.started_at / 1000000, 'unixepoch') as at,
       c.input_uncached_tokens, c.cache_read_tokens, c.output_tokens, c.cost_nano_usd,
       (claimed ->> 3) + (claimed ->> 4) + (claimed ->> 5) + (claimed ->> 6) + (claimed ->> 7) as wasted_tokens,
       ((claimed ->> 3) * (rate ->> 0) + (claimed ->> 4) * (rate ->> 1) + (claimed ->> 5) * (rate ->> 2)
           + (claimed ->> 6) * (rate ->> 3) + (claimed ->> 7) * (rate ->> 4)
           - (claimed ->> 9) * ((claimed ->> 3) + (claimed ->> 5) + (claimed ->> 6)) * (rate ->> 1)
           - (claimed ->> 8) * max(0, (rate ->> 2) - (rate ->> 0))) / 1000 as wasted_nano_usd
from claims join rates on rates.place = (claimed ->> 2)
join llm_calls c on c.run_id = (claimed ->> 0) and c.id = (claimed ->> 1)
order by c.started_at, c.run_id, c.id;
"""
