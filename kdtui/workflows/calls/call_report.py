"""Describe a call to a teacher for users."""

import json

from kdtui.text import counted, fit_lines
from kdtui.workflows.calls.costs import cost_text
from store.calls import CallDetails


def call_text(record: CallDetails) -> str:
    """Return everything that is known about a call, on many lines that are safe to display."""
    call = record.call
    lines = [f"call {call.id}: {call.step}, {call.status}", f"teacher: {call.teacher}"]
    tries = counted(call.attempts, "try", "tries")
    lines.append(f"asked: {call.created_at}, {tries}, {call.seconds:.2f} seconds")
    if call.prompt_tokens is not None or call.completion_tokens is not None:
        prompt, answer = call.prompt_tokens or 0, call.completion_tokens or 0
        estimate_note = " (estimated: the server did not report all of them)" if call.is_estimated else ""
        lines.append(f"tokens: {prompt:,} of the prompt, {answer:,} of the answer{estimate_note}")
        lines.append(f"cost: {cost_text(call.cost, is_estimated=call.is_estimated)}")
    if call.is_final:
        lines.append("it failed for good; only --retry-failed asks again")
    if call.finish_reason not in (None, "stop"):
        lines.append(f"the answer ended by: {call.finish_reason}")
    for role, content in record.messages:
        lines += ["", f"[{role}]", content]
    lines += ["", "[error]" if call.response is None else "[answer]", _readable(call.response or call.error or "")]
    lines += ["", "[knowledge that came of it]"]
    for piece in record.pieces:
        rejected = "" if piece.reason is None else f" (rejected: {piece.reason})"
        lines.append(f"{piece.format} {piece.id} of {piece.dataset}: {piece.statement}{rejected}")
    if not record.pieces:
        lines.append("none")
    # Prompts and answers are text from outside.
    return fit_lines("\n".join(lines))


def _readable(answer: str) -> str:
    """Format JSON with a line for each value; leave other text unchanged."""
    try:
        return json.dumps(json.loads(answer), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return answer
