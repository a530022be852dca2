"""`tokentrace show`: one run as a tree, or with `--messages` what was said in it."""

from __future__ import annotations

import click

from tokentrace_core.cli import main
from tokentrace_core.cli.document import tree_document
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.render import print_run
from tokentrace_core.cli.tree import read_tree
from tokentrace_core.store.audit import note_in
from tokentrace_core.store.reader import Reader


@main.command()
@click.argument("run")
@click.option(
    "--messages", is_flag=True, help="Also print the conversation: what each model call added to it."
)
@common_options
@pass_settings
def show(settings: Settings, run: str, messages: bool) -> None:
    """One run as a tree: steps, model calls, tools, nested agents.

    RUN is the id of a run, the start or the end of it, or "last". The steps of a nested agent hang under the
    tool call that spawned it; the cost of a step includes what hangs below it.
    """
    # Imported here: most looks at a run do not read what was said in it.
    from tokentrace_core.cli.conversation import print_conversation, read_conversation, turn_document

    with Reader(settings.path) as reader:
        tree = read_tree(reader, run)
        turns = read_conversation(reader, tree) if messages else None
        path = reader.path
    if messages:
        note_in(path, "read messages", of=("run", tree.id))
    if settings.json:
        said = {} if turns is None else {"messages": [turn_document(turn) for turn in turns]}
        write_json(tree_document(tree) | said)
        return
    screen = console()
    print_run(screen, tree)
    if turns is not None:
        print_conversation(screen, turns)
