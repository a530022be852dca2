"""What a question can be narrowed to or grouped by, each as SQL over the rows of a trace.

The names of the rows are the same in every query: `r` a run, `s` a step, `c` a model call, `t` a tool call. A dimension of a
run is also one of all that is in it; one of a call is one of a run if a call of it has it.
"""

from __future__ import annotations

ATTRIBUTE = "attr."
NONE = "(none)"
UNKNOWN = "(unknown)"
NO_TOOL = "(no tool)"
EXPIRED = "(expired)"

OF_RUN: dict[str, str] = {
    "user": f"coalesce(r.user_id, '{NONE}')",
    "session": "r.session_id",
    "project": f"coalesce(r.project, '{NONE}')",
    "run": "r.id",
    "run-name": "r.name",
    "run-status": "r.status",
    "error-type": f"coalesce(r.error_type, '{NONE}')",
    "task-type": f"coalesce(r.task_type, '{NONE}')",
    "version": f"coalesce(r.agent_version, '{NONE}')",
    "environment": f"coalesce(r.environment, '{NONE}')",
    "framework": f"coalesce(r.framework, '{NONE}')",
}
OF_STEP: dict[str, str] = {
    "agent": f"coalesce(s.agent, '{NONE}')",
    "step-name": f"coalesce(s.name, '{NONE}')",
}
OF_CALL: dict[str, str] = {
    "model": f"coalesce(c.model, c.model_answered, '{UNKNOWN}')",
    "provider": f"coalesce(c.provider, '{UNKNOWN}')",
    "status": "c.status",
}
#: Of these a run can have several at once.
TAG, TOOL = "tag", "tool"

NAMES = (*OF_RUN, *OF_STEP, *OF_CALL, TAG, TOOL, f"{ATTRIBUTE}KEY")

#: What is grouped by besides: the start of a row (in microseconds, UTC; a week by its Monday) and a step's place in its run.
TIMES: dict[str, str] = {
    "hour": "strftime('%Y-%m-%d %H:00', {0}.started_at / 1000000, 'unixepoch')",
    "day": "date({0}.started_at / 1000000, 'unixepoch')",
    "week": "date({0}.started_at / 1000000, 'unixepoch', '-6 days', 'weekday 1')",
}
STEP = "step"
GROUPS = (*NAMES, *TIMES, STEP)


def canonical(name: str) -> str:
    """The name as it stands here: `step_name` is `step-name`, too. Raises ValueError, with what there is."""
    if name.startswith(ATTRIBUTE) and name not in (ATTRIBUTE, NAMES[-1]):
        return name
    found = name.replace("_", "-")
    if found not in NAMES[:-1]:
        raise ValueError(f"there is no dimension {name!r}. There are: {', '.join(NAMES)}.")
    return found


def canonical_by(name: str) -> str:
    """As `canonical`, for what can be grouped by."""
    if name in TIMES or name == STEP:
        return name
    try:
        return canonical(name)
    except ValueError:
        raise ValueError(f"there is no dimension {name!r}. There are: {', '.join(GROUPS)}.") from None


def attribute(key: str, *rows: str) -> str:
    """SQL: an attribute as text, of the first of these rows that has it. `key`: SQL for its name, best a parameter.

    `attr.step_name` is also the step's name: guides write both (requirements.md T19).
    """
    found = [
        f"(select case type when 'true' then 'true' when 'false' then 'false' else cast(value as text) end"
        f" from json_each({row}.attributes) where key = {key})"
        for row in rows
    ]
    named = f"case {key} when 'step_name' then s.name end"
    return f"coalesce({', '.join([*found, named])}, '{NONE}')"
