r"""One kind of secret, as data: where to look, what it looks like, which look-alikes to let go.

A rule never touches text: the engine does, the same way for every rule, so a new kind of secret is one more row in
one of the tables (`redaction_numbers`, `redaction_addresses`, `redaction_keys`, `redaction_logins`, `redaction_values`).

Three habits keep every rule linear in the length of the text, whoever wrote the text:

- each repetition has an upper bound or is a single character class with nothing after it to backtrack into;
- a secret that begins anywhere but holds a telling character (the `@` of an e-mail) is found at that character and
  grown to the left by `extent`, instead of being tried from every letter of the text;
- rules look only into what a scan has found (`redaction_scans`): numbers, long words, names that tell.

Text reaches the rules folded (`redaction_text`), so patterns spell out `[0-9]`, `-` and ` `, and what is masked
already reads as NUL, which no rule may reach across.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from tokentrace_core.redaction_sheet import Region, Scan


class Rule(msgspec.Struct, frozen=True):
    """One kind of secret.

    `placeholder` stands in the secret's place and says only its kind. `pattern` finds it; if the pattern has a group
    called `secret`, only this group is replaced. `needs`: strings of which at least one must be present, else the rule
    is not tried. `within`: look only into what this scan finds, and `reach` characters to its left and right.
    `extent(text, start, end)` moves the find's ends, or says with None that it is none; `accept(text, start, end)` has
    the last word. `window`: how many characters a find with its context may take, where that is more than 512.
    """

    name: str
    placeholder: str
    pattern: re.Pattern[str]
    needs: tuple[str, ...] = ()
    within: Scan | None = None
    reach: tuple[int, int] = (0, 0)
    extent: Callable[[str, int, int], Region | None] | None = None
    accept: Callable[[str, int, int], bool] | None = None
    window: int = 0


#: For a rule that takes what its scan has found, and leaves the rest to `extent`.
WHOLE = re.compile(r"(?s).+")
