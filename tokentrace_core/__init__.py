"""tokentrace: what every agent run cost, why, and a stop before it costs too much."""

__version__ = "0.1.0"
