"""The texts that a student is trained with and asked with: questions about pairs, and the thought before a list."""

THOUGHT = "Thought:"
"""The beginning of the line that holds a thought, which stands before the list of bundles."""

YES, NO = " yes", " no"


def pair_question(one: int, other: int, evidence: float | None = None) -> str:
    """Whether two products, by their numbers in the prompt, belong in one bundle.

    Args:
        evidence: how likely that is by what is known of their categories, 0..1; None where nothing is.
    """
    if evidence is None:
        return f"{one},{other}?"
    # Always two digits, so that what follows stands at the same place.
    return f"{one},{other} {min(99, round(100 * evidence)):02}%?"
