"""A month of realistic traffic of several agents, written through the real recorder; what is wasted in it is known."""

from tokentrace_core.cli.demo.month.waste import AUDIT, KINDS, Place, Planted
from tokentrace_core.cli.demo.month.weeks import CASES, Cause, Weeks, write_weeks
from tokentrace_core.cli.demo.month.writing import write_month

__all__ = ["AUDIT", "CASES", "KINDS", "Cause", "Place", "Planted", "Weeks", "write_month", "write_weeks"]
