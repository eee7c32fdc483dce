"""Datasets that cannot be read, or do not exist."""

from tests.inputs.case import Case

CASES = [
    Case(
        "a file to import does not exist",
        ("data", "import", "{tmp}/nothing.jsonl", "--dataset", "x"),
        "{tmp}/nothing.jsonl",
    ),
    Case("a dataset does not exist", ("data", "show", "s1", "--dataset", "nothing"), "nothing"),
]
