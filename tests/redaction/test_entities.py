"""The layer that asks presidio, through the part of presidio's interface that it uses.

Presidio itself (with spaCy, 55 distributions) is not installed where the tests run. The analyzer here keeps its contract:
`analyze(text=, language=, entities=)` gives results with `start`, `end`, `entity_type` and `score`, and
`get_supported_entities(language)` says what can be asked for.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field

import pytest

from tokentrace_core import MissingExtra, Redactor
from tokentrace_core.redaction_entities import entity_rules


@dataclass
class Result:
    entity_type: str
    start: int
    end: int
    score: float


@dataclass
class Analyzer:
    """Knows a person, a place that it is not sure of, and everything about mail addresses."""

    asked: list[tuple[str, ...]] = field(default_factory=list)
    broken: bool = False

    def get_supported_entities(self, language: str) -> list[str]:
        return ["PERSON", "LOCATION", "EMAIL_ADDRESS"] if language == "en" else []

    def analyze(self, *, text: str, language: str, entities: list[str]) -> list[Result]:
        if self.broken:
            raise RuntimeError(text)
        self.asked.append(tuple(entities))
        known = {
            "PERSON": ("Ada Lovelace", 0.85),
            "LOCATION": ("Paris", 0.3),
            "EMAIL_ADDRESS": (r"\S+@\S+", 1.0),
        }
        return [
            Result(entity, *found.span(), score)
            for entity in reversed(entities)
            for name, score in [known[entity]]
            for found in re.finditer(name, text)
        ]


@pytest.fixture
def analyzer() -> Analyzer:
    return Analyzer()


def test_a_persons_name_goes_and_what_the_analyzer_is_not_sure_of_stays(analyzer: Analyzer) -> None:
    redactor = Redactor(entity_rules(analyzer))
    once = redactor.redact("Ada Lovelace (ada@example.com) and Ada Lovelace went to Paris")
    assert once == "[PERSON_REDACTED] ([EMAIL_REDACTED]) and [PERSON_REDACTED] went to Paris"
    assert redactor.redact(once) == once
    assert redactor.redact_value({"who": ["Ada Lovelace"]}) == {"who": ["[PERSON_REDACTED]"]}


def test_a_name_that_hides_or_comes_in_pieces_goes_as_well(analyzer: Analyzer) -> None:
    redactor = Redactor(entity_rules(analyzer))
    assert redactor.redact("Ada\u00a0Love\u200blace") == "[PERSON_REDACTED]"
    stream = redactor.stream()
    pieces = [stream.feed(piece) for piece in ("it was Ada Lo", "velace who", " wrote it")]
    assert "".join([*pieces, stream.close()]) == "it was [PERSON_REDACTED] who wrote it"


def test_a_lower_threshold_takes_what_is_less_sure(analyzer: Analyzer) -> None:
    redactor = Redactor(entity_rules(analyzer, least_score=0.2))
    assert redactor.redact("from Paris") == "from [LOCATION_REDACTED]"


def test_all_entities_are_one_analysis_and_only_those_that_it_knows_are_asked_for(analyzer: Analyzer) -> None:
    Redactor(entity_rules(analyzer)).redact("nobody is named")
    assert analyzer.asked == [("PERSON", "LOCATION")]


def test_what_would_ask_the_network_is_refused(analyzer: Analyzer) -> None:
    with pytest.raises(ValueError, match="EMAIL_ADDRESS"):
        entity_rules(analyzer, entities=["PERSON", "EMAIL_ADDRESS"])


def test_an_analyzer_that_knows_nothing_of_this_is_no_layer(analyzer: Analyzer) -> None:
    with pytest.raises(ValueError, match="'de'"):
        entity_rules(analyzer, language="de")


def test_an_analyzer_that_fails_drops_the_text(analyzer: Analyzer) -> None:
    analyzer.broken = True
    redactor = Redactor(entity_rules(analyzer))
    assert redactor.redact("Ada Lovelace") == "[REDACTION_FAILED len=12]"
    assert redactor.failures == 1


def test_without_presidio_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tokentrace\[presidio\]'"):
        entity_rules()
