"""What calls cost whose traces have gone by retention: their daily sums, which name no user, session, run or agent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tokentrace_core.analysis.dimensions import EXPIRED, NONE, UNKNOWN
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.spent import FIGURES, Spent
from tokentrace_core.store.reader import Reader

#: Unknown is '' there.
_KNOWN = {
    "project": f"coalesce(nullif(project, ''), '{NONE}')",
    "environment": f"coalesce(nullif(environment, ''), '{NONE}')",
    "framework": f"coalesce(nullif(framework, ''), '{NONE}')",
    "task-type": f"coalesce(nullif(task_type, ''), '{NONE}')",
    "provider": f"coalesce(nullif(provider, ''), '{UNKNOWN}')",
    "model": f"coalesce(nullif(model, ''), '{UNKNOWN}')",
    "status": "status",
    "run-status": "run_status",
    "day": "day",
    "week": "date(day, '-6 days', 'weekday 1')",
}
#: A day's sum began with the day.
_BEGAN = "cast(strftime('%s', day) as integer) * 1000000"


def expired(reader: Reader, by: tuple[str, ...], scope: Scope) -> Iterator[Spent]:
    """Sums by `by`; what nobody knows any more is "(expired)", and in no scope that asks for it."""
    if not reader.has_table("daily_costs") or any(name not in _KNOWN for name in scope.where):
        return
    key = [_KNOWN.get(name, f"'{EXPIRED}'") for name in by]
    where: list[str] = ["true"]
    parameters: dict[str, Any] = {}
    for place, (name, values) in enumerate(scope.where.items()):
        where.append(f"{_KNOWN[name]} in (select value from json_each(:wanted_{place}))")
        parameters[f"wanted_{place}"] = json.dumps(values)
    for name, moment, sign in (("since", scope.since, ">="), ("until", scope.until, "<")):
        if moment is not None:
            where.append(f"{_BEGAN} {sign} :{name}")
            parameters[name] = moment
    sums = ", ".join(f"sum({name})" for name in FIGURES)
    group = f"group by {', '.join(str(place + 1) for place in range(len(key)))}" if key else "having count(*)"
    sql = f"select {', '.join([*key, sums])} from daily_costs where {' and '.join(where)} {group}"
    for row in reader.execute(sql, parameters):
        yield Spent(row[: len(key)], *row[len(key) :])
