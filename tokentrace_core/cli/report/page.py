"""A section as HTML: its sentence, its picture, and the picture's figures as a table.

One self-contained page: the style is in it, there is no script, and a policy in it forbids browsers to fetch anything. Every text passes
`_text`, which shows control characters and escapes the rest: what is in a trace file comes from models and from the web.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from tokentrace_core.cli.text import clean


class Table(NamedTuple):
    """Figures under a picture. The first `names` columns are texts, the others are numbers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


class Section(NamedTuple):
    """One question and its answer."""

    title: str
    sentence: str
    table: Table | None = None
    svg: str | None = None
    described: str = ""
    """What the picture shows, for who cannot see it."""
    notes: Sequence[str] = ()


_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1d2733; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; border-top: 1px solid #d5dbe1; padding-top: 1rem; }
figure { margin: 1rem 0; overflow-x: auto; background: #fff; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #e6eaee; vertical-align: top; overflow-wrap: anywhere; }
.n { text-align: right; white-space: nowrap; } .note, footer, .about { color: #5a6672; font-size: .9rem; }
@media (prefers-color-scheme: dark) { body { color: #dde3ea; background: #14191f; } th, td { border-color: #2b333c; } h2 { border-color: #2b333c; }
  .note, footer, .about { color: #9aa6b2; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, about: str, sections: Sequence[Section], foot: str) -> str:
    """The whole document."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{_text(title)}</h1>\n<p class="about">{_text(about)}</p>\n'
        + "\n".join(_section(section) for section in sections)
        + f"\n<footer><p>{_text(foot)}</p></footer>\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    parts = [f"<section>\n<h2>{_text(section.title)}</h2>", f"<p>{_text(section.sentence)}</p>"]
    if section.svg is not None:
        parts.append(f'<figure role="img" aria-label="{_text(section.described)}">{section.svg}</figure>')
    if section.table is not None:
        parts.append(_table(section.table))
    parts += [f'<p class="note">{_text(note)}</p>' for note in section.notes]
    return "\n".join([*parts, "</section>"])


def _table(table: Table) -> str:
    head = "".join(_cell("th", text, place >= table.names) for place, text in enumerate(table.headers))
    rows = (
        "".join(_cell("td", text, place >= table.names) for place, text in enumerate(row))
        for row in table.rows
    )
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    above = f"<thead><tr>{head}</tr></thead>\n" if any(table.headers) else ""
    return f"<table>\n{above}<tbody>\n{body}\n</tbody>\n</table>"


def _cell(tag: str, text: str, numeric: bool) -> str:
    attributes = (' scope="col"' if tag == "th" else "") + (' class="n"' if numeric else "")
    return f"<{tag}{attributes}>{_text(text)}</{tag}>"


def _text(text: str) -> str:
    return escape(clean(text))
