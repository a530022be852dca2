"""Hear of every model call as it ends: plain blinker signals, in the process, with the figures filled in."""

from tokentrace_core import Tracer
from tokentrace_core.signals import llm_call_ended, run_ended

tracer = Tracer()


@llm_call_ended.connect
def dear(recorder, call):
    if call.cost_nano_usd and call.cost_nano_usd > 1_000_000:
        print(f"a call to {call.model} cost ${call.cost_nano_usd / 1e9:.4f}")


@run_ended.connect
def summary(recorder, run):
    print(f"{run.name}: {run.status}, {run.llm_calls} calls, {run.input_tokens} tokens in")


with tracer.run("nightly"):
    for size in (200, 2_000):
        with tracer.llm("gpt-4o", messages="summarise " + "the log " * size) as call:
            call.done("nothing happened")
tracer.close()
