"""CrewAI is held to the suite."""

import tests.integrations.crewai.quiet  # noqa: F401
from tests.conformance.crewai_driver import CrewAIDriver
from tests.conformance.suite import HandlerSuite


class TestCrewAI(HandlerSuite):
    driver = CrewAIDriver
