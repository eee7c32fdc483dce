"""The texts that a student is trained with and prompted with: questions about pairs, and the thought before a list."""

THOUGHT = "Thought:"
"""The beginning of the line with the thought, which precedes the list of bundles."""

YES, NO = " yes", " no"


def pair_question(one: int, other: int, evidence: float | None = None) -> str:
    """Return the question whether two products, by their numbers in the prompt, belong in one bundle.

    Args:
        evidence: how likely that is by other sessions, 0..1; None if it is unknown.
    """
    if evidence is None:
        return f"{one},{other}?"
    # Always two digits, so that the rest has the same position.
    return f"{one},{other} {min(99, round(100 * evidence)):02}%?"
