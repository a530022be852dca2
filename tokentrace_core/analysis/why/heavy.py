"""One user who makes the difference: what the others did says what to expect of everybody.

If all the others spend twice as much, a user who does so, too, is no cause. What a user spent beyond that is theirs alone.
"""

from __future__ import annotations

from collections.abc import Mapping

#: If the cost changed by less than one part of so many, what one user does more another does less.
_NOTICED = 50

Users = Mapping[str, tuple[int, int]]
"""User -> runs and nano-dollars; "" for nobody."""


def heavy_user(before: Users, after: Users) -> str | None:
    """The user whose own change is at least a fifth of the difference and at least double (or half) of the others' change."""
    difference = _sum(after) - _sum(before)
    if _NOTICED * abs(difference) <= max(_sum(before), _sum(after)):
        return None
    direction = 1 if difference > 0 else -1
    own = {user: direction * own_change(user, before, after) for user in {*before, *after} - {""}}
    found = max(own, key=lambda user: (own[user], user), default=None)
    if found is None or 5 * own[found] < abs(difference):
        return None
    spent = after.get(found, (0, 0))[1]
    expected = spent - direction * own[found]
    outstanding = spent >= 2 * expected if direction > 0 else 2 * spent <= expected
    return found if outstanding and _others_spent(found, before) and _others_spent(found, after) else None


def own_change(user: str, before: Users, after: Users) -> int:
    """Nano-dollars that the user spent beyond what it would be, had they changed as all the others did."""
    was, now = (side.get(user, (0, 0))[1] for side in (before, after))
    others_were, others_are = _sum(before) - was, _sum(after) - now
    return now - (was * others_are // others_were if others_were else was)


def _others_spent(user: str, side: Users) -> bool:
    return _sum(side) > side.get(user, (0, 0))[1]


def _sum(side: Users) -> int:
    return sum(cost for _, cost in side.values())
