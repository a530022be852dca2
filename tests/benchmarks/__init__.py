"""What tokentrace costs, measured as ratios within one interleaved run. `python -m tests.benchmarks`; see README.md."""
