"""LlamaIndex is held to the suite."""

from tests.conformance.llama_index_driver import LlamaIndexDriver
from tests.conformance.suite import HandlerSuite


class TestLlamaIndex(HandlerSuite):
    driver = LlamaIndexDriver
