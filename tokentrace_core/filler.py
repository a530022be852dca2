"""How much of a reply is filler before the answer: "Great question! You're absolutely right. I'd be happy to help."

A sentence is filler if most of its words that carry meaning are pleasantries: praise, thanks, agreement, apology, eagerness.
The first sentence must hold one that nothing but filler begins with; then the run of such sentences counts, up to the first that
says something: a word of its own, a figure, code, a list. A reply that is nothing else is an answer ("You're right."), not filler.

Words, not phrases, because a model words its politeness anew each time. English only: filler in other languages is not
found, which makes the figure too low, never too high.
"""

from __future__ import annotations

import re
from typing import Any

#: No filler is longer; what follows is not looked at.
_HEAD = 2_000
#: How much of the first sentence has to be pleasantry, and of one that goes on.
_MOSTLY, _HALF = 0.6, 0.5

_SENTENCE = re.compile(r"\s*[^.!?\n]+[.!?]*[\"')\]]*\s*")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
#: Figures, code, paths, lists, tables, headings: something is being said.
_SUBSTANCE = re.compile(r"[0-9`_/\\{}<>=#*|@$%\[\]]|^\s*[-•]|:\s*$")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: With one of these a sentence of pleasantries begins a preamble.
_STRONG = _words(
    """
    absolutely amazing apologies apologise apologize appreciate awesome brilliant certainly congratulations course delighted
    definitely excellent excited exciting fabulous fantastic fascinating glad great happy honored hope impressive incredible
    insightful kind lovely marvelous outstanding perfect phenomenal pleased pleasure question remarkable right sorry spectacular splendid
    stellar superb sure terrific thank thanks thoughtful thrilled totally welcome wonderful wow
    """
)
_PLEASANT = _STRONG | _words(
    """
    agree answer answering approach ask asked asking assist assistance assure attention aware best better bringing call care carefully catch
    clarification clarify clear clearly close come completely concern concerns confusion consideration correct correctly curious
    curiosity deep deeply deserve deserves detail details dive effort enjoy enough entirely especially ever everyone everything
    exactly explain explanation eye fair feedback feel feeling find fine forward found frustrating frustration fully genuinely
    gladly good grateful hand happily hard hear heard heart help helpful helping helps highlight highlighting idea ideas
    important importance inconvenience indeed input instinct intelligent interest interested interesting interestingly
    intuition job journey keen know let's like look looking love loved make makes mean meaningful mention mentioned mentioning
    message mistake moment much nice nicely notice noticed noticing observation opportunity patience patient perceptive perfectly
    pointing point praise privilege profound properly provide quality raise raised raising reach reached reaching read ready
    really reason reasoning request respect respond response rest sense sentiment share shared sharing sharp sharply shows
    sincere sincerely situation smart something spot spotted start step strong support surely take taken taking talk
    team tell thinking think thinks thorough thoroughly thought thoughtfully thoughts time together topic totally touch tricky
    trouble true truly trust trusting try understand understandable understandably understanding valid valuable value very
    walk want wanted way well whole willing wise wisely wish wonder wonderfully word words work working worth worthwhile worry
    write writing written wrong yes
    """
)
#: Words that carry no meaning of their own.
_EMPTY = _words(
    """
    a about ah all also always am an and any are aren't as at back be because been before being both but by can can't could
    did didn't do does doesn't don't done down each even first for from further get give given go going got had has have
    having he hello her here here's hey hi him his how how's i i'd i'll i'm i've if in into is isn't it it'd it'll it's its just
    keep kindly least less let lot lots many may maybe me might more most must my myself never no not nothing now of off oh ok okay
    on once one only or other our out over own please put quite rather say see seem seems shall she should simply since so
    some soon still such than that that's the their them then there there's these they thing things this those though through to
    today too two under until up upon us use was we we'd we'll we're we've were what what's whatever when where whether
    which while who whole why will with within won't would yet you you'd you'll you're you've your yours yourself
    """
)


def filler_length(text: str) -> int:
    """Characters of filler at the start of a reply; 0 if there is none, or nothing else."""
    head = text[:_HEAD]
    end = start = len(head) - len(head.lstrip())
    while sentence := _SENTENCE.match(head, end):
        if not _is_filler(sentence[0], first=end == start):
            break
        end = sentence.end()
    said_more = bool(text[end:].strip())
    return end if end > start and said_more else 0


def text_of(message: Any) -> str:
    """What a stored message says: its content, or the first text of it."""
    content = message.get("content") if isinstance(message, dict) else message
    if isinstance(content, list):
        texts = (block.get("text") for block in content if isinstance(block, dict))
        content = next((text for text in texts if isinstance(text, str)), None)
    return content if isinstance(content, str) else ""


def _is_filler(sentence: str, *, first: bool) -> bool:
    if _SUBSTANCE.search(sentence.rstrip()):
        return False
    words = [word for word in _WORD.findall(sentence.lower().replace("\u2019", "'")) if word not in _EMPTY]
    if first and not _STRONG.intersection(words):
        return False
    pleasant = sum(word in _PLEASANT for word in words)
    return bool(words) and pleasant >= (_MOSTLY if first else _HALF) * len(words)
