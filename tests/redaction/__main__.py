"""`python -m tests.redaction`: the scores of both parts; `--show KIND` prints what is wrong in the tuning part."""

from __future__ import annotations

import argparse
import time
from random import Random

from tests.redaction.score import Score, disguised, is_right, lookalikes, plain, scores, whole
from tokentrace_core import Redactor

_CORPORA = {"recall": plain, "recall, disguised": disguised, "look-alikes kept": lookalikes}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.redaction", description=__doc__)
    parser.add_argument("--size", type=int, default=400, help="cases per kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", metavar="KIND", help="print the tuning cases of this kind that go wrong")
    parser.add_argument("--brief", action="store_true", help="only the totals, and the kinds below the gates")
    asked = parser.parse_args()
    redactor = Redactor()
    for title, corpus in _CORPORA.items():
        if asked.show:
            _show(asked.show, corpus(asked.size, asked.seed), redactor)
            continue
        parts = scores(corpus(asked.size, asked.seed), redactor)
        print(f"\n{title:24} {'tuning':>34} {'held out':>34}")
        for kind in sorted(parts[False]):
            if not asked.brief or min(parts[part].get(kind, Score(0, 0)).share for part in parts) < 0.99:
                _print(kind, parts[False][kind], parts[True].get(kind, Score(0, 0)))
        _print("all", whole(parts[False]), whole(parts[True]))
    if not asked.show:
        _print_times(asked.size, asked.seed, redactor)
    print(f"failures: {redactor.failures}")


def _print_times(size: int, seed: int, redactor: Redactor) -> None:
    """CPU per text, of such texts as an agent's step has: dozens of the corpus's, up to 8 kB."""
    r = Random(seed)
    cases = [case.text for corpus in _CORPORA.values() for case in corpus(size, seed)]
    texts = ["\n".join(r.choices(cases, k=r.randint(2, 40)))[:8_000] for _ in range(4 * size)]
    times = sorted(_seconds(redactor, text) for text in texts)
    median, p99 = (times[int(len(times) * share)] * 1e3 for share in (0.5, 0.99))
    length = sum(map(len, texts)) // len(texts)
    print(f"\ntexts of {length} characters on average: median {median:.2f} ms, p99 {p99:.2f} ms of CPU")


def _seconds(redactor: Redactor, text: str) -> float:
    started = time.thread_time()
    redactor.redact(text)
    return time.thread_time() - started


def _print(name: str, *columns: Score) -> None:
    print(f"{name:24}", *(f"{_shown(score):>34}" for score in columns))


def _shown(score: Score) -> str:
    low, high = score.interval()
    return f"{score.right}/{score.total} {score.share:.2%} [{low:.1%}, {high:.1%}]"


def _show(kind: str, cases: object, redactor: Redactor) -> None:
    for case in cases:  # type: ignore[attr-defined]
        if case.kind == kind and not case.held_out and not is_right(case, redactor):
            print("----", case.template[:60].encode("unicode_escape").decode())
            print("text:  ", repr(case.text)[:400])
            print("result:", repr(redactor.redact(case.text))[:400])


if __name__ == "__main__":
    main()
