"""What a student is asked of two products, and what it answers: the same in training and in use."""

YES, NO = " yes", " no"


def pair_question(one: int, other: int) -> str:
    """Whether two products, by their numbers in the prompt, belong in one bundle."""
    return f"{one},{other}?"
