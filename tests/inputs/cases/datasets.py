"""Datasets that cannot be read, or are not there."""

from tests.inputs.case import Case

CASES = [
    Case(
        "a file to import is not there",
        ("data", "import", "{tmp}/nothing.jsonl", "--dataset", "x"),
        "{tmp}/nothing.jsonl",
    ),
    Case("there is no dataset of the name", ("data", "show", "s1", "--dataset", "nothing"), "nothing"),
]
