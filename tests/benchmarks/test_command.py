"""The command works, every section prints its rows, and no recorder loses a span. The figures are not looked at."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.benchmarks.__main__ import SECTIONS
from tests.benchmarks.sampling import ROOT


def test_the_command_prints_every_section() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", done.stdout, re.DOTALL | re.MULTILINE))
    assert list(printed) == list(SECTIONS)
    for name, report in printed.items():
        rows = [line for line in report.splitlines() if line.startswith("| ")]
        assert len(rows) > 2, name
        assert not any("| - |" in row for row in rows[2:]), report
    assert re.search(r"tokentrace\*\*.* \| (\d+) of \1 \|", printed["handler"]), printed["handler"]
