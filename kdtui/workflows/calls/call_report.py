"""A call to a teacher, to be read by people."""

import json

from kdtui.text import counted
from kdtui.workflows.calls.costs import cost_text
from store.calls import CallDetails


def call_text(found: CallDetails) -> str:
    """All that is known of a call, on many lines."""
    call = found.call
    lines = [f"call {call.id}: {call.step}, {call.status}", f"teacher: {call.teacher}"]
    tries = counted(call.attempts, "try", "tries")
    lines.append(f"asked: {call.created_at}, {tries}, {call.seconds:.2f} seconds")
    if call.prompt_tokens is not None or call.completion_tokens is not None:
        prompt, answer = call.prompt_tokens or 0, call.completion_tokens or 0
        told = " (estimated: the server did not tell all of them)" if call.is_estimated else ""
        lines.append(f"tokens: {prompt:,} of the prompt, {answer:,} of the answer{told}")
        lines.append(f"cost: {cost_text(call.cost, is_estimated=call.is_estimated)}")
    if call.is_final:
        lines.append("it has failed for good, and is asked again with --retry-failed only")
    if call.finish_reason not in (None, "stop"):
        lines.append(f"the answer ended by: {call.finish_reason}")
    for role, content in found.messages:
        lines += ["", f"[{role}]", content]
    lines += ["", "[error]" if call.response is None else "[answer]", _readable(call.response or call.error or "")]
    lines += ["", "[knowledge that came of it]"]
    for piece in found.pieces:
        rejected = "" if piece.reason is None else f" (rejected: {piece.reason})"
        lines.append(f"{piece.format} {piece.id} of {piece.dataset}: {piece.statement}{rejected}")
    if not found.pieces:
        lines.append("none")
    return "\n".join(lines)


def _readable(answer: str) -> str:
    """JSON with a line for each value; what is none stays as it is."""
    try:
        return json.dumps(json.loads(answer), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return answer
