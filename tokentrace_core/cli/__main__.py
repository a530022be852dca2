"""`python -m tokentrace_core.cli`: the same as `tokentrace`."""

from tokentrace_core.cli import main

main(prog_name="tokentrace")
