"""`tokentrace report`: one page for a colleague who has neither the file nor tokentrace."""

from tokentrace_core.cli.report.command import report

__all__ = ["report"]
