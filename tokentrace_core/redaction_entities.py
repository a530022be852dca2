"""People, places and the papers of some countries, which no pattern of ours tells: an optional layer of `presidio`.

    Redactor(entity_rules())                    # the patterns of presidio that the redactor lacks
    Redactor(entity_rules(analyzer))            # an AnalyzerEngine with a language model: also names and places

The layer is a list of rules like any other, so what it finds is masked, streamed and counted the same way, and an
analyzer that fails drops the text. It is asked after the folding, and again once something was masked: a text costs at
least two of its analyses, some milliseconds each.

It never touches the network. Of presidio's recognizers those of mail addresses and URLs do (`tldextract` downloads a list
at its first use), so they are refused; the redactor finds those itself. Presidio's default engine downloads a language
model; without an analyzer of the user's the layer takes the engine that has none.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from tokentrace_core.errors import MissingExtra
from tokentrace_core.redaction_rule import WHOLE, Rule
from tokentrace_core.redaction_sheet import Region, Scan, Sheet

#: What the redactor's own rules do not look for.
ENTITIES = (
    "PERSON", "LOCATION", "NRP", "ORGANIZATION", "MEDICAL_LICENSE", "US_PASSPORT", "US_DRIVER_LICENSE",
    "US_BANK_NUMBER", "UK_NHS", "CRYPTO",
)  # fmt: skip
_ASK_THE_NETWORK = frozenset({"EMAIL_ADDRESS", "URL"})


class Analyzer(Protocol):
    """What is asked of presidio's `AnalyzerEngine`. The answers have `start`, `end`, `entity_type` and `score`."""

    def analyze(self, *, text: str, language: str, entities: list[str]) -> Sequence[Any]: ...


def entity_rules(
    analyzer: Analyzer | None = None,
    *,
    entities: Sequence[str] = ENTITIES,
    language: str = "en",
    least_score: float = 0.4,
) -> list[Rule]:
    """One rule per entity that the analyzer knows, `PERSON` with the placeholder `[PERSON_REDACTED]`.

    `least_score`: of presidio's confidence, from 0 to 1. Raises MissingExtra without presidio, and ValueError if an
    entity would be looked up in the network or the analyzer knows none of them.
    """
    if networked := sorted(_ASK_THE_NETWORK.intersection(entities)):
        raise ValueError(
            f"presidio asks the network about {' and '.join(networked)}; the redactor finds them without it"
        )
    analyzer = analyzer if analyzer is not None else _without_a_model(language)
    known = _known(analyzer, entities, language)
    if not known:
        raise ValueError(f"the analyzer knows none of {', '.join(entities)} in the language {language!r}")
    analysis = _Analysis(analyzer, known, language, least_score)
    return [
        Rule(entity, f"[{entity}_REDACTED]", WHOLE, within=Scan(analysis.only(entity))) for entity in known
    ]


class _Analysis:
    """One analysis per text, whichever of the entities is asked for first."""

    def __init__(self, analyzer: Analyzer, entities: list[str], language: str, least_score: float) -> None:
        self._analyzer = analyzer
        self._entities = entities
        self._language = language
        self._least_score = least_score

    def only(self, entity: str) -> Any:
        return lambda sheet: self._found(sheet).get(entity, [])

    def _found(self, sheet: Sheet) -> dict[str, list[Region]]:
        found: dict[str, list[Region]] | None = sheet.notes.get(self)
        if found is None:
            found = sheet.notes[self] = {}
            answers = self._analyzer.analyze(
                text=sheet.text, language=self._language, entities=self._entities
            )
            for one in sorted(answers, key=lambda one: (one.start, one.end)):
                if one.score >= self._least_score:
                    found.setdefault(one.entity_type, []).append((one.start, one.end))
        return found


def _known(analyzer: Analyzer, entities: Sequence[str], language: str) -> list[str]:
    supported = getattr(analyzer, "get_supported_entities", None)
    if supported is None:
        return list(entities)
    known = frozenset(supported(language))
    return [entity for entity in entities if entity in known]


def _without_a_model(language: str) -> Analyzer:
    try:
        presidio: Any = importlib.import_module("presidio_analyzer")  # it has no types
        engines: Any = importlib.import_module("presidio_analyzer.nlp_engine")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("presidio_analyzer"):
            raise
        raise MissingExtra("entity_rules", "presidio-analyzer", "presidio") from None
    engine = engines.NoOpNlpEngine(models=[{"lang_code": language, "model_name": "none"}])
    analyzer: Analyzer = presidio.AnalyzerEngine(nlp_engine=engine, supported_languages=[language])
    return analyzer
