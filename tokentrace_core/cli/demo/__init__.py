"""`tokentrace demo`: a real agent does real work, is recorded, and is stopped by its budget."""

from tokentrace_core.cli.demo.command import demo

__all__ = ["demo"]
