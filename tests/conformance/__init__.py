"""What every framework's handler must do: one suite of sentences, one small driver per framework.

`driver` says what a framework has to offer, `work` what it is asked to do, `sentences` what must then be in the
record, `stage` what must be true after every one of them, `rendering` which facts are compared, and `suite` joins
them and forbids exceptions without a reason. A new framework is a driver and a test module of ten lines.
"""

import pytest

pytest.register_assert_rewrite("tests.conformance.sentences", "tests.conformance.stage")
