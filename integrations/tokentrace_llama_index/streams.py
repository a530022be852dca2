"""Runs whose answer comes after their span: streams, futures and workflow handlers.

A run stays open until its answer is there. What a streamed answer still asks of models belongs to it, too, though
LlamaIndex makes those calls from wherever the stream is read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.chat_engine.types import StreamingAgentChatResponse
from llama_index.core.instrumentation.span import active_span_id

from tokentrace_core.integration import Recorder, shielded
from tokentrace_llama_index import mapping

End = Callable[[BaseException | None], None]


def writes_answer(span_id: str) -> bool:
    """Whether this span writes a chat engine's streamed answer to its memory, which is when that is complete."""
    return mapping.method_of(span_id) in ("write_response_to_history", "awrite_response_to_history")


def follow(recorder: Recorder, span_id: str, result: Any) -> bool:
    """Close this run when its answer is complete. False if it is already."""
    if isinstance(result, StreamingAgentChatResponse):
        return True  # the span that writes it down ends the run
    if isinstance(result, StreamingResponse | AsyncStreamingResponse):
        said: list[str] = []
        end = _end_of_stream(recorder, span_id, said)
        followed: Any = _pieces if isinstance(result, StreamingResponse) else _async_pieces
        result.response_gen = followed(result.response_gen, span_id, said, end)
        return True
    future = getattr(result, "_result_task", result)  # of a workflow's handler
    if not hasattr(future, "add_done_callback"):
        return False
    future.add_done_callback(_end_of_future(recorder, span_id))
    return True


def _end_of_stream(recorder: Recorder, span_id: str, said: list[str]) -> End:
    @shielded
    def end(error: BaseException | None) -> None:
        if error is None:
            recorder.close_run(span_id, output="".join(map(str, said)))
        else:
            recorder.fail(span_id, error)

    return end


def _end_of_future(recorder: Recorder, span_id: str) -> Callable[[Any], None]:
    @shielded
    def end(future: Any) -> None:
        if future.cancelled():
            recorder.cancel(span_id)
        elif (error := future.exception()) is not None:
            recorder.fail(span_id, error)
        else:
            recorder.close_run(span_id, output=mapping.said_last(future.result()))

    return end


def _pieces(pieces: Any, span_id: str, said: list[Any], end: End) -> Iterator[Any]:
    """The same pieces; whatever is called to get the next one is called from inside the span."""
    try:
        while True:
            before = active_span_id.set(span_id)
            try:
                piece = next(pieces, end)
            finally:
                active_span_id.reset(before)
            if piece is end:
                break
            said.append(piece)
            yield piece
    except BaseException as error:
        pieces.close()
        end(error)
        raise
    end(None)


async def _async_pieces(pieces: Any, span_id: str, said: list[Any], end: End) -> AsyncIterator[Any]:
    try:
        while True:
            before = active_span_id.set(span_id)
            try:
                piece = await anext(pieces, end)
            finally:
                active_span_id.reset(before)
            if piece is end:
                break
            said.append(piece)
            yield piece
    except BaseException as error:
        await pieces.aclose()
        end(error)
        raise
    end(None)
