"""Endpoints that are none, budgets that cannot be kept to, and teachers that are not here."""

from tests.inputs.case import DEMO, Case

DISTILL = ("knowledge", "distill", "--dataset", "demo", "--teacher")
NOWHERE = "http://127.0.0.1:9/v1#m"

CASES = [
    Case(
        "a limit of the cost without prices limits nothing",
        (*DISTILL, NOWHERE, "--max-cost", "5"),
        "a limit of the cost needs prices: give --prompt-price and --answer-price",
        before=(DEMO,),
    ),
    Case(
        "an estimate of the cost has a limit and no prices",
        (*DISTILL, NOWHERE, "--max-cost", "5", "--dry-run"),
        "a limit of the cost needs prices",
        before=(DEMO,),
    ),
    Case(
        "a limit of the cost is no number",
        (*DISTILL, NOWHERE, "--prompt-price", "1", "--max-cost", "nan"),
        "--max-cost takes a number, 0 or more, not 'nan'",
        code=2,
        before=(DEMO,),
    ),
    Case(
        "a limit of the cost has no end",
        (*DISTILL, NOWHERE, "--prompt-price", "1", "--max-cost", "inf"),
        "--max-cost is a number such as 2.5, not inf",
        before=(DEMO,),
    ),
    Case(
        "a price has no end",
        (*DISTILL, NOWHERE, "--prompt-price", "inf"),
        "--prompt-price is a number such as 2.5, not inf",
        before=(DEMO,),
    ),
    Case(
        "the cost of a model is asked for that is not here",
        (*DISTILL, "gpt-4o", "--dry-run"),
        "there is no student 'gpt-4o'",
        before=(DEMO,),
        forbidden=("costs nothing", "cost 0"),
    ),
    Case(
        "the cost of a file is asked for that is not there",
        (*DISTILL, "{tmp}/nothing.gguf", "--dry-run"),
        "{tmp}/nothing.gguf: there is no such file",
        before=(DEMO,),
        forbidden=("costs nothing",),
    ),
    Case(
        "the cost of a student here is asked for",
        (*DISTILL, "smollm2", "--dry-run"),
        "smollm2 runs on this machine and costs nothing",
        before=(DEMO,),
    ),
    Case(
        "an answer may have no tokens",
        (*DISTILL, NOWHERE, "--answer-tokens", "0"),
        "--answer-tokens takes a whole number, 1 or more, not '0'",
        code=2,
        before=(DEMO,),
    ),
]
