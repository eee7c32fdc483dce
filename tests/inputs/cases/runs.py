"""Runs that do not exist, and invalid tags, seeds and limits."""

from tests.inputs.case import DEMO, Case

_RUN = ("evaluate", "--dataset", "demo", "--student", "patterns", "--limit", "2")

CASES = [
    Case("a run to tag does not exist", ("run", "tag", "9", "paper"), "there is no run 9"),
    Case("a run for a note does not exist", ("run", "note", "9", "x"), "there is no run 9"),
    Case(
        "a tag has a blank in it",
        ("run", "tag", "1", "two words"),
        "'two words' is not a tag; a tag is one word without commas",
        before=(DEMO, _RUN),
    ),
    Case("a tag is empty", ("run", "tag", "1", ""), "'' is not a tag", before=(DEMO, _RUN)),
    Case("a tag has control characters", ("run", "tag", "1", "a\x1b[31m"), "is not a tag", before=(DEMO, _RUN)),
    Case("a tag is too long", ("run", "tag", "1", "x" * 101), "of 100 characters at most", before=(DEMO, _RUN)),
    Case(
        "a tag to remove does not exist",
        ("run", "tag", "1", "--remove", "paper"),
        "run 1 has no tag 'paper'; it has none",
        before=(DEMO, _RUN),
    ),
    Case(
        "an evaluation has an invalid tag",
        (*_RUN, "--tag", "two words"),
        "'two words' is not a tag",
        before=(DEMO,),
    ),
    Case("a tag is missing", ("run", "tag", "1"), "WORD… is missing", code=2),
    Case(
        "an evaluation of only the floors has a tag",
        ("evaluate", "--floors-only", "--tag", "x"),
        "--floors-only makes none",
        code=2,
    ),
    Case(
        "a dataset has no published results",
        ("evaluate", "--dataset", "demo", "--published"),
        "there are no published results about the test split of dataset 'demo': it is no split of the official "
        "datasets (Electronic, Clothing); leave out --published",
        before=(DEMO,),
    ),
    Case(
        "an evaluation of only the floors has a judge",
        ("evaluate", "--floors-only", "--judge", "http://127.0.0.1:9/v1"),
        "--judge rates the intents of a run, and --floors-only makes none",
        code=2,
    ),
    Case(
        "a budget lacks a judge",
        ("evaluate", "--max-calls", "3", "--judge-key", "KEY"),
        "there is no judge for --judge-key and --max-calls; name one with --judge",
        code=2,
    ),
    Case(
        "the cost limit of a judge lacks prices",
        (*_RUN, "--judge", "http://127.0.0.1:9/v1", "--max-cost", "1"),
        "a limit of the cost needs prices",
        before=(DEMO,),
    ),
    Case(
        "a judge does not exist",
        (*_RUN, "--judge", "gpt-4"),
        "there is no student 'gpt-4'",
        before=(DEMO,),
    ),
    Case(
        "a judge is not a language model",
        (*_RUN, "--judge", "patterns"),
        "the pattern student is no language model, and rates nothing",
        before=(DEMO,),
    ),
    Case(
        "a free judge has a budget",
        (*_RUN, "--judge", "smollm2", "--max-calls", "3"),
        "smollm2 runs on this machine and costs nothing; leave out --max-calls",
        code=2,
        before=(DEMO,),
    ),
    Case(
        "a free student has prices",
        (*_RUN, "--prompt-price", "2"),
        "--prompt-price and --answer-price are those of an endpoint, and this student is free; leave them out",
        before=(DEMO,),
    ),
    Case("a limit is zero", ("evaluate", "--limit", "0"), "--limit", code=2),
    Case("a seed is below zero", ("evaluate", "--limit", "2", "--seed", "-1"), "--seed", code=2),
]
