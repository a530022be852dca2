"""What is written and read in the month: diffs, handbooks, answers. Made of parts, so that they are many and small in memory.

No names of people, addresses or numbers that a redactor would take out: what is recorded is what was sent.
"""

from __future__ import annotations

import random
from functools import lru_cache

_NOUNS = (
    "invoice", "ledger", "refund", "basket", "session", "webhook", "shipment", "quote", "discount", "catalogue",
    "worker", "cursor", "retry", "schema", "tenant", "report", "export", "currency", "rounding", "snapshot",
)  # fmt: skip
_VERBS = (
    "load", "store", "merge", "validate", "close", "apply", "split", "collect", "settle", "publish", "check",
    "rebuild", "filter", "convert", "schedule",
)  # fmt: skip
_RULES = (
    "A {a} is never changed after its {b} was closed; write a correcting entry and name the reason.",
    "Every {a} that crosses a service boundary carries the version of its {b}.",
    "Prefer a plain function over a class when a {a} has no state of its own.",
    "Tests of the {a} run against the real {b}, not against a double of it.",
    "Do not {v} a {a} inside a transaction that also holds the {b}.",
    "When a customer asks about a {a}, look the {b} up first and say what you found.",
    "If the {a} is older than thirty days, the {b} needs the approval of a team lead.",
    "Names of modules say what a {a} is, not which framework made the {b}.",
    "A {a} without a {b} is reported in the daily list and left alone.",
    "Amounts of a {a} are integers of the smallest unit; only the {b} knows how to show them.",
)
_FACTS = (
    "The {a} is written once per {b} and read by every worker of the region.",
    "To {v} a {a}, open the settings of the {b} and choose the period that it applies to.",
    "A {a} expires after seven days unless its {b} was confirmed in the meantime.",
    "Exports of the {a} have one line per {b}, in the order in which they were made.",
    "If the {a} does not show up, the {b} has probably been filtered by its tenant.",
    "The limits of a {a} follow from the plan; the {b} shows how much of them is left.",
)
_CODE = (
    "+    def {v}_{a}(self, {b}: {B}) -> {A}:",
    '+        """The {a} of one {b}; empty if it has none."""',
    "+        if {b}.closed and not self._may_{v}({b}):",
    '+            return {A}.empty(reason="closed {b}")',
    "-        {a} = self._{a}s[{b}.key]",
    "+        {a} = self._{a}s.get({b}.key) or self.{v}_{a}({b})",
    "         return {a}.with_{b}({b})",
    "+        for {b} in self.{a}s.pending():",
    "+            self.{v}({b}, until=self.clock.today())",
    "-    # the {b} is checked by the caller",
    '     @{v}s.register("{a}.{b}")',
)
_PREAMBLES = (
    "Great question! You're absolutely right to ask about this, and I'm really glad that you brought it up.",
    "You're absolutely right, and what a thoughtful way to put it! I completely understand where you come from.",
    "What an excellent question! I'd be more than happy to help you with this today, let me take a look.",
    "Certainly! Thank you so much for reaching out to us about this, it is a pleasure to help you with it.",
)
_MORE_PREAMBLE = (
    "This is a topic that many people wonder about, and it shows how carefully you are looking at it.",
    "I have gone through everything with great care so that I can give you the very best answer I can.",
    "I truly appreciate your patience, and I want you to know that your request is important to me.",
    "Let me walk you through it step by step so that nothing is left open and you feel fully informed.",
    "Before I come to the point, let me say that this is exactly the right moment to think about it.",
)  # fmt: skip


def _fill(pattern: str, chance: random.Random) -> str:
    a, b = chance.sample(_NOUNS, 2)
    return pattern.format(a=a, b=b, v=chance.choice(_VERBS), A=a.capitalize(), B=b.capitalize())


def _prose(chance: random.Random, patterns: tuple[str, ...], size: int) -> str:
    """Sentences up to so many characters."""
    text = _fill(chance.choice(patterns), chance)
    while len(text) < size:
        text += " " + _fill(chance.choice(patterns), chance)
    return text


@lru_cache(maxsize=256)
def rules(name: str, size: int) -> str:
    """A handbook, a CLAUDE.md: the same text whenever it is asked for by this name."""
    chance = random.Random(f"rules {name}")
    lines: list[str] = [f"# {name}"]
    held = 0
    while held < size:
        lines.append(f"- {_fill(chance.choice(_RULES), chance)}")
        held += len(lines[-1]) + 2
    return "\n".join(lines)


@lru_cache(maxsize=512)
def chunk(number: int) -> str:
    """One paragraph of the documentation."""
    return _prose(random.Random(f"chunk {number}"), _FACTS, 1_500)


def diff(chance: random.Random, size: int) -> str:
    """A change of a few files."""
    text = ""
    while len(text) < size:
        a, b = chance.sample(_NOUNS, 2)
        text += f"--- a/{a}s/{b}.py\n+++ b/{a}s/{b}.py\n@@ {chance.choice(_VERBS)}_{a} @@\n"
        for _ in range(chance.randint(20, 45)):
            text += _fill(chance.choice(_CODE), chance) + "\n"
    return text[:size]


def findings(chance: random.Random, role: str, size: int) -> str:
    """What a reviewer writes."""
    return f"{role.capitalize()} review. " + _prose(chance, _RULES, size)


def answer(chance: random.Random, size: int) -> str:
    """What a helpful agent writes."""
    return _prose(chance, _FACTS, size)


def question(chance: random.Random) -> str:
    """What somebody wants to know."""
    a, b = chance.sample(_NOUNS, 2)
    return chance.choice(
        (
            f"How do I {chance.choice(_VERBS)} the {a} of a {b}?",
            f"My {a} does not show the {b} any more. What can I do?",
            f"Why was the {b} changed although the {a} is closed?",
            f"Can I still {chance.choice(_VERBS)} a {a} when its {b} has expired?",
        )
    )


def preamble(chance: random.Random) -> str:
    """About 120 tokens that say nothing, before the answer."""
    text = chance.choice(_PREAMBLES)
    for sentence in chance.sample(_MORE_PREAMBLE, 4):
        text += " " + sentence
    return text + " "


@lru_cache(maxsize=64)
def notes(night: int, size: int) -> str:
    """What the report of one night leaves for the next."""
    return f"Notes of night {night}: " + _prose(random.Random(f"notes {night}"), _FACTS, size)


def tool_list(count: int) -> list[tuple[str, str]]:
    """Names and descriptions of the tools of a server that offers far too many."""
    chance = random.Random("tools")
    pairs = [(verb, noun) for verb in _VERBS for noun in _NOUNS]
    return [
        (f"{verb}_{noun}", f"{verb.capitalize()} the {noun} of a wiki page. {_prose(chance, _RULES, 120)}")
        for verb, noun in chance.sample(pairs, count)
    ]
