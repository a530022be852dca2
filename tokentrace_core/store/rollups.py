"""What the calls of a run cost, added to the sums of their days before the run's trace goes.

A sum names no user, session, run or agent. Money, tokens and calls stay exact in every dimension that it has; a run
counts once, with its first call, so that runs add up too (a run of two models is one of the first).
"""

from __future__ import annotations

import sqlite3

#: The key of `daily_costs`, and where it stands in a call (k).
_KEY = {
    "day": "k.day",
    "project": "coalesce(k.project, '')",
    "environment": "coalesce(k.environment, '')",
    "framework": "coalesce(k.framework, '')",
    "task_type": "coalesce(k.task_type, '')",
    "provider": "coalesce(k.provider, '')",
    "model": "coalesce(k.model, '')",
    "status": "k.status",
    "run_status": "k.run_status",
}
_SUMS = {
    "runs": "sum(k.place = 1)",
    "calls": "sum(k.is_call)",
    "input_tokens": "sum(k.input_tokens)",
    "cached_tokens": "sum(k.cached_tokens)",
    "output_tokens": "sum(k.output_tokens)",
    "reasoning_tokens": "sum(k.reasoning_tokens)",
    "cost_nano_usd": "coalesce(sum(k.cost_nano_usd), 0)",
    "estimated_nano_usd": "coalesce(sum(case when k.usage_source = 'estimated' then k.cost_nano_usd end), 0)",
    "unpriced_calls": "coalesce(sum(k.cost_status = 'unpriced'), 0)",
    "unpriced_tokens": "coalesce(sum((k.cost_status = 'unpriced') * (k.input_tokens + k.output_tokens)), 0)",
    "estimated_calls": "coalesce(sum(k.usage_source = 'estimated'), 0)",
    "input_audio_tokens": "coalesce(sum(k.input_audio_tokens), 0)",
    "output_audio_tokens": "coalesce(sum(k.output_audio_tokens), 0)",
    "web_searches": "coalesce(sum(k.web_searches), 0)",
}
_OF_CALLS = """
    c.run_id, c.id, c.day, c.project, c.environment, c.framework, c.task_type, c.provider, c.model, c.status,
    c.run_status, c.input_tokens, c.cached_tokens, c.output_tokens, c.reasoning_tokens, c.cost_nano_usd,
    c.usage_source, c.cost_status, c.started_at, 1 as is_call, l.input_audio_tokens, l.output_audio_tokens, l.web_searches
"""
#: What tools themselves cost; named as `tokentrace cost` names it.
_OF_TOOLS = """
    t.run_id, t.id, date(t.started_at / 1000000, 'unixepoch'), r.project, r.environment, r.framework, r.task_type,
    '(tool)', '(tool)', t.status, r.status, 0, 0, 0, 0, t.cost_nano_usd, null, null, t.started_at, 0, 0, 0, 0
"""
_ADD = f"""
    insert into daily_costs ({", ".join([*_KEY, *_SUMS])})
    select {", ".join([*_KEY.values(), *_SUMS.values()])}
    from (
        select *, row_number() over (partition by run_id order by started_at, id) as place from (
            select {_OF_CALLS} from calls c join llm_calls l on l.run_id = c.run_id and l.id = c.id
            where c.run_id in (select value from json_each(:runs))
            union all
            select {_OF_TOOLS} from tool_calls t join runs r on r.id = t.run_id
            where t.run_id in (select value from json_each(:runs)) and t.cost_nano_usd is not null
        )
    ) k
    where true
    group by {", ".join(str(number + 1) for number in range(len(_KEY)))}
    on conflict do update set {", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)}
"""


def roll_up(connection: sqlite3.Connection, runs: str) -> None:
    """Add what these runs (a JSON list of ids) cost. In the transaction in which their calls go."""
    connection.execute(_ADD, {"runs": runs})
