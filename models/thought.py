"""What stands before a list of bundles where a student has learned to think first: a thought, in a line of its own."""

THOUGHT = "Thought:"
"""What its line begins with."""
