"""LangChain is held to the suite."""

from tests.conformance.langchain_driver import LangChainDriver
from tests.conformance.suite import HandlerSuite


class TestLangChain(HandlerSuite):
    driver = LangChainDriver
