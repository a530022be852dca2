"""Runs whose answer comes after their span: streams, futures and workflow handlers.

A run stays open until its answer is there. What a streamed answer still asks of models belongs to it, too, though
LlamaIndex makes those calls from wherever the stream is read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing, contextmanager
from functools import partial
from typing import Any

from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.chat_engine.types import StreamingAgentChatResponse
from llama_index.core.instrumentation.span import active_span_id

from tokentrace_core.integration import Recorder, shielded
from tokentrace_llama_index import mapping
from tokentrace_llama_index.span import Span

_OVER: Any = object()


def writes_answer(span: Span) -> bool:
    """Whether this span writes a chat engine's streamed answer to its memory, which is when that is complete."""
    return span.method in ("write_response_to_history", "awrite_response_to_history")


def follow(recorder: Recorder, span_id: str, result: Any) -> bool:
    """Close this run when its answer is complete. False if it is already."""
    if isinstance(result, StreamingAgentChatResponse):
        return True  # the span that writes it down ends the run
    if isinstance(result, StreamingResponse | AsyncStreamingResponse):
        followed: Any = _pieces if isinstance(result, StreamingResponse) else _async_pieces
        result.response_gen = followed(recorder, span_id, result.response_gen)
        return True
    future = getattr(result, "_result_task", result)  # of a workflow's handler
    if not hasattr(future, "add_done_callback"):
        return False
    future.add_done_callback(partial(_done, recorder, span_id))
    return True


@shielded
def _done(recorder: Recorder, span_id: str, future: Any) -> None:
    if future.cancelled():
        recorder.cancel(span_id)
    elif (error := future.exception()) is not None:
        recorder.fail(span_id, error)
    else:
        recorder.close_run(span_id, output=mapping.said_last(future.result()))


def _pieces(recorder: Recorder, span_id: str, pieces: Any) -> Iterator[Any]:
    with _read(recorder, span_id) as said, closing(pieces):
        while True:
            with _inside(span_id):
                piece = next(pieces, _OVER)
            if piece is _OVER:
                return
            said.append(piece)
            yield piece


async def _async_pieces(recorder: Recorder, span_id: str, pieces: Any) -> AsyncIterator[Any]:
    with _read(recorder, span_id) as said:
        async with aclosing(pieces):
            while True:
                with _inside(span_id):
                    piece = await anext(pieces, _OVER)
                if piece is _OVER:
                    return
                said.append(piece)
                yield piece


@contextmanager
def _read(recorder: Recorder, span_id: str) -> Iterator[list[Any]]:
    """The run is over when its pieces, which are put into this list, have been read, or nobody reads on."""
    said: list[Any] = []
    try:
        yield said
    except BaseException as error:
        shielded(recorder.fail)(span_id, error)
        raise
    shielded(recorder.close_run)(span_id, output="".join(map(str, said)))


@contextmanager
def _inside(span_id: str) -> Iterator[None]:
    """Whatever is called to get the next piece is called from inside the span."""
    before = active_span_id.set(span_id)
    try:
        yield
    finally:
        active_span_id.reset(before)
