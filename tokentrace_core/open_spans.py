"""What is under way: the recorder's state, one object per thing, linked by reference.

A `Node` stands for one of the framework's own ids and knows its parent, so that every call finds its run,
its agent loop and its step by walking ids, never by ambient context. An `OpenRun` holds all nodes of one
run: when the run ends, they go together.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from tokentrace_core.account import Account, Reservation
from tokentrace_core.ids import Timeline
from tokentrace_core.prompts import PromptHistory, Sent
from tokentrace_core.replies import Reply
from tokentrace_core.spans import LLMCall, Run, RunPart, Step, ToolCall
from tokentrace_core.usage import Usage

#: Finished parts of a run stay known for late children; this many, so that a run of any length stays bounded.
_REMEMBERED_PARTS = 512
_NOTHING = Reply()


class Loop:
    """One agent's loop: the sequence of its steps."""

    __slots__ = (
        "agent",
        "cost_nano_usd",
        "last_input_tokens",
        "last_latency_us",
        "parent",
        "parent_call_id",
        "sent",
        "step",
        "steps",
    )

    def __init__(
        self, agent: str | None, parent: Loop | None = None, parent_call_id: str | None = None
    ) -> None:
        self.agent = agent
        self.parent = parent
        self.parent_call_id = parent_call_id
        self.steps = 0
        self.step: OpenStep | None = None
        """The latest step."""
        self.sent: Sent | None = None
        """The latest prompt."""
        self.cost_nano_usd = 0
        self.last_input_tokens: int | None = None
        """What the provider counted in `sent`."""
        self.last_latency_us: int | None = None


class OpenStep:
    """A step until all that belongs to it is done."""

    __slots__ = ("asked", "calls", "ended", "explicit", "loop", "span", "superseded")

    def __init__(self, span: Step, loop: Loop, *, explicit: bool = False) -> None:
        self.span = span
        self.loop = loop
        self.explicit = explicit
        """Opened and closed by the user's own code."""
        self.calls = 0
        """Calls of this step that are open."""
        self.asked: dict[str, Mapping[str, Any]] = {}
        """Tool calls the model asked for that have not begun, by the provider's id: their name and arguments."""
        self.superseded = False
        self.ended = False

    @property
    def done(self) -> bool:
        return self.superseded and not self.explicit and not self.calls and not self.asked


class Node:
    """One of the framework's own ids: a run, an agent, a chain, a call."""

    __slots__ = (
        "_loop",
        "arrived",
        "client",
        "closed",
        "depth",
        "fixed_step",
        "key",
        "loop",
        "name",
        "opened",
        "parent",
        "reported",
        "reported_again",
        "reservation",
        "run",
        "said",
        "sent",
        "span",
        "step",
        "step_name",
        "tool_id",
        "wraps",
    )

    def __init__(self, key: Hashable, run: OpenRun, parent: Node | None, name: str | None = None) -> None:
        self.key = key
        self.run = run
        self.parent = parent
        self.name = name
        self.depth: int = parent.depth + 1 if parent else 0
        self.loop: Loop = parent.loop_for_children() if parent else run.loop
        """The agent loop this belongs to."""
        self._loop: Loop | None = None
        self.tool_id: str | None = parent.tool_id if parent else None
        """The tool call this happens in, itself included."""
        self.step: OpenStep | None = parent.step if parent else None
        """Where a call without a better place belongs."""
        self.step_name: str | None = parent.step_name if parent else None
        """What the steps are called that begin in this part."""
        self.fixed_step: OpenStep | None = None
        """The step that the user's own code has opened round this; it does not reach into other agents."""
        if parent is not None and self.loop is parent.loop:
            self.fixed_step = parent.fixed_step
        self.span: LLMCall | ToolCall | Step | None = None
        self.opened = run.clock.now()
        self.closed = False
        self.reservation: Reservation | None = None
        self.sent: Sent | None = None
        self.reported: Usage | None = None
        """The last piece of a stream that counted the prompt."""
        self.reported_again = False
        """More than one piece did: each tells all that was used so far."""
        self.arrived = _NOTHING
        """What a stream has brought of the answer so far."""
        self.said: list[str] = []
        """Its pieces of text."""
        self.client: Hashable | None = None
        """Who sends this call."""
        self.wraps: str | None = None
        """The LLM call inside this one: the inner one is charged."""

    def own_loop(self) -> Loop:
        """The loop of the agent that this node is; made when its first part begins."""
        if self._loop is None:
            if self.parent is None:
                self._loop = self.run.loop
            else:
                self._loop = Loop(self.name, self.loop, self.tool_id)
        return self._loop

    def own_loop_if_any(self) -> Loop:
        """The loop of the agent that this node is, else the one it belongs to."""
        return self._loop or self.loop

    def loop_for_children(self) -> Loop:
        """A tool that calls models itself is an agent of its own; anything else passes its loop on."""
        if self._loop is None and isinstance(self.span, ToolCall):
            return self.own_loop()
        return self.own_loop_if_any()

    def is_within(self, other: Node) -> bool:
        node: Node | None = self
        while node is not None and node.depth > other.depth:
            node = node.parent
        return node is other

    def enclosing_llm(self) -> Node | None:
        node = self.parent
        while node is not None:
            if isinstance(node.span, LLMCall) and not node.closed:
                return node
            node = node.parent
        return None


class OpenRun:
    """A run under way."""

    __slots__ = (
        "_finished",
        "account",
        "asked",
        "clock",
        "history",
        "implicit",
        "loop",
        "nodes",
        "part",
        "questions",
        "refused",
        "resumable",
        "root",
        "state",
        "steps",
        "timeline",
        "touched",
        "unanswered",
        "user_unknown",
        "waiting",
        "waiting_since",
    )

    def __init__(
        self,
        span: Run,
        account: Account | None,
        history: PromptHistory,
        timeline: Timeline,
        *,
        implicit: bool = False,
    ) -> None:
        self.root = span
        self.account = account
        self.history = history
        self.implicit = implicit
        """Opened for a call that came without a run; ends with it."""
        self.timeline = timeline
        self.clock = timeline.clock()
        self.loop = Loop(span.name)
        self.nodes: dict[Hashable, Node] = {}
        self.part: RunPart | None = None
        """If another process began it: what happens of it here. `root` then has this part's totals."""
        self.state = ""
        """The `tracestate` that came with it."""
        self.user_unknown = False
        """Whose run it is stands in the file, as soon as that process has written it."""
        self.asked: dict[str, OpenStep] = {}
        """Which step's model asked for a tool call, by the provider's id."""
        self.steps: dict[str, OpenStep] = {}
        """Steps that have not ended."""
        self.waiting = False
        """It has begun to wait for a human."""
        self.questions: list[Any] = []
        """What the human is asked, by all branches that wait."""
        self.waiting_since = 0
        self.unanswered: set[str] = set()
        """The tools that wait, by the provider's id or else by name; they are called again with the answer."""
        self.resumable = False
        self.refused: LLMCall | None = None
        """The call that a budget refused; from then on all are, and those are attempts at the same."""
        self.touched = time.monotonic()
        self._finished: deque[Hashable] = deque()

    @property
    def id(self) -> str:
        """One of those under way here: a run may have several parts in one process."""
        return self.part.id if self.part is not None else self.root.id

    def ask(self, questions: Iterable[Any]) -> None:
        """Begin to wait. The same question is heard at every level that it passes."""
        if not self.waiting:
            self.waiting, self.waiting_since = True, self.clock.now()
        for question in questions:
            if question is not None and not any(asked is question for asked in self.questions):
                self.questions.append(question)

    def hear(self, tool: str) -> None:
        """This tool is called; if it was the last one that waited, the run goes on without ever having returned."""
        if tool not in self.unanswered:
            return
        self.unanswered.discard(tool)
        if not self.unanswered:
            self.root.waiting_ms += (self.clock.now() - self.waiting_since) // 1000
            self.go_on()

    def go_on(self) -> None:
        """Wait no longer."""
        self.waiting = False
        self.questions = []
        self.unanswered.clear()

    def add_totals(self, call: LLMCall) -> None:
        """Add an ended model call's tokens; its cost is charged along the loops."""
        root, cached = self.root, call.cache_read_tokens or 0
        written = (call.cache_write_5m_tokens or 0) + (call.cache_write_1h_tokens or 0)
        tokens_in, tokens_out = (call.input_uncached_tokens or 0) + cached + written, call.output_tokens or 0
        root.input_tokens += tokens_in
        root.cached_tokens += cached
        root.output_tokens += tokens_out
        if call.cost_status == "unpriced":
            root.unpriced_calls += 1
            root.unpriced_tokens += tokens_in + tokens_out
        root.estimated_calls += call.usage_source == "estimated"

    def forget_parts(self) -> None:
        """All but the tools that a run which may go on still has to call."""
        self.nodes.clear()
        if not self.resumable:
            self.asked.clear()
        self._finished.clear()

    def finish(self, node: Node) -> Hashable | None:
        """Mark a node done; gives back the key of one that is old enough to forget."""
        node.closed = True
        self._finished.append(node.key)
        if len(self._finished) <= _REMEMBERED_PARTS:
            return None
        oldest = self._finished.popleft()
        self.nodes.pop(oldest, None)
        return oldest
