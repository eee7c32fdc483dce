"""Invalid budgets of endpoints, and teachers that do not exist."""

from tests.inputs.case import DEMO, Case

DISTILL = ("knowledge", "distill", "--dataset", "demo", "--teacher")
NOWHERE = "http://127.0.0.1:9/v1#m"

CASES = [
    Case(
        "a cost limit lacks prices",
        (*DISTILL, NOWHERE, "--max-cost", "5"),
        "a limit of the cost needs prices: give --prompt-price and --answer-price",
        before=(DEMO,),
    ),
    Case(
        "a cost limit of a dry run lacks prices",
        (*DISTILL, NOWHERE, "--max-cost", "5", "--dry-run"),
        "a limit of the cost needs prices",
        before=(DEMO,),
    ),
    Case(
        "a cost limit is not a number",
        (*DISTILL, NOWHERE, "--prompt-price", "1", "--max-cost", "nan"),
        "--max-cost takes a number, 0 or more, not 'nan'",
        code=2,
        before=(DEMO,),
    ),
    Case(
        "a cost limit is infinite",
        (*DISTILL, NOWHERE, "--prompt-price", "1", "--max-cost", "inf"),
        "--max-cost is a number such as 2.5, not inf",
        before=(DEMO,),
    ),
    Case(
        "a price is infinite",
        (*DISTILL, NOWHERE, "--prompt-price", "inf"),
        "--prompt-price is a number such as 2.5, not inf",
        before=(DEMO,),
    ),
    Case(
        "the teacher of a dry run does not exist",
        (*DISTILL, "gpt-4o", "--dry-run"),
        "there is no student 'gpt-4o'",
        before=(DEMO,),
        forbidden=("costs nothing", "cost 0"),
    ),
    Case(
        "the model file of a dry run does not exist",
        (*DISTILL, "{tmp}/nothing.gguf", "--dry-run"),
        "{tmp}/nothing.gguf: there is no such file",
        before=(DEMO,),
        forbidden=("costs nothing",),
    ),
    Case(
        "the teacher of a dry run is a local student",
        (*DISTILL, "smollm2", "--dry-run"),
        "smollm2 runs on this machine and costs nothing",
        before=(DEMO,),
    ),
    Case(
        "the maximum length of an answer is 0",
        (*DISTILL, NOWHERE, "--answer-tokens", "0"),
        "--answer-tokens takes a whole number, 1 or more, not '0'",
        code=2,
        before=(DEMO,),
    ),
]
