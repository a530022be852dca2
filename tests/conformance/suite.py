"""The suite: every sentence, and the rule that nobody leaves one out in silence.

    class TestMyFramework(HandlerSuite):
        driver = MyFrameworkDriver

A framework that cannot keep a sentence overrides it with what it does instead, and says why in `EXCEPTIONS`; the
README's table shows the reason. Without a reason, or with a reason for a sentence that is kept, the class cannot
even be defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from tests.conformance.driver import Driver
from tests.conformance.sentences.figures import Figures
from tests.conformance.sentences.safety import Safety
from tests.conformance.sentences.stops import Stops
from tests.conformance.sentences.trees import Trees
from tests.conformance.sentences.whose import Whose

ITS_OWN = ("driver", "EXCEPTIONS")


class HandlerSuite(Trees, Figures, Whose, Stops, Safety):
    """What must be true of every framework's handler."""

    driver: ClassVar[type[Driver]]
    EXCEPTIONS: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init_subclass__(cls) -> None:
        """Hold the subclass to the rule of this module."""
        for fault in (
            *(f"{name} is not kept, and EXCEPTIONS says no reason" for name in _changed(cls) - _excused(cls)),
            *(f"EXCEPTIONS excuses {name}, which is kept" for name in _excused(cls) - _changed(cls)),
        ):
            raise TypeError(f"{cls.__name__}: {fault}")


def sentences() -> dict[str, str]:
    """Every sentence by the name of its test, in their order."""
    ordered = [name for part in HandlerSuite.__mro__[1:] for name in vars(part) if name.startswith("test_")]
    return {name: name.removeprefix("test_").replace("_", " ") for name in ordered}


def _excused(cls: type[HandlerSuite]) -> set[str]:
    return {name for name, reason in cls.EXCEPTIONS.items() if reason.strip()}


def _changed(cls: type[HandlerSuite]) -> set[str]:
    """What of the suite this class has otherwise, wherever it inherits that from, and marks for all of it."""
    names = {name for name in dir(HandlerSuite) if not name.startswith("__")} - {*ITS_OWN}
    names.add("__init_subclass__")
    changed = {name for name in names if _function(cls, name) is not _function(HandlerSuite, name)}
    marked = {"pytestmark"} if getattr(cls, "pytestmark", None) else set()
    hidden = {"__test__"} if getattr(cls, "__test__", True) is not True else set()
    return changed | marked | hidden


def _function(cls: type[HandlerSuite], name: str) -> object:
    """What is behind the name: of a class method, which is bound anew each time, its function."""
    found = getattr(cls, name, None)
    return getattr(found, "__func__", found)
