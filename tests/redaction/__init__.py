"""How much of what is private the redactor finds, and how much it takes that is not: a corpus and its score.

    python -m tests.redaction [--size N] [--seed N] [--show TYPE]

The corpus is generated: `secrets.py` makes values, `contexts.py` the texts of agents around them, `disguises.py` hides
them, `lookalikes.py` makes what must be kept. All is made by a seeded random generator, so a score can be repeated.

Contexts are split, by a hash of the template, into a part to tune with and a part of which only the score is looked at.
"""
