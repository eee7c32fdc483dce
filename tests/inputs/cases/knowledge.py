"""Knowledge and samples: invalid values, names that do not exist, and helpful advice."""

from tests.inputs.case import DEMO, Case

MINED = (DEMO, ("knowledge", "mine"))
DISTILLED = (DEMO, ("knowledge", "distill"))
RULES = (*DISTILLED, ("sample", "create", "half", "--format", "rule"))
FLAT = b"\n".join(
    b'{"session": "s%d", "items": [{"id": "a"}, {"id": "b"}], "bundles": [{"items": ["a", "b"]}], "split": "train"}' % n
    for n in range(3)
)
THOUGHT = (
    b'{"id": 1, "format": "thought", "statement": "s", "content": "{\\"products\\": [], \\"steps\\": []}",'
    b' "teacher": "t", "sessions": ["nowhere"]}'
)


def refused(situation: str, *command: str, expected: str) -> Case:
    """Make a case whose message names the option, with the exit code for wrong usage."""
    return Case(situation, command, expected, code=2)


CASES = [
    Case(
        "knowledge of all domains is shown without a sample",
        ("knowledge", "for", "o34", "--domains", "all"),
        "--domains all shows a sample of several datasets; name one with --sample",
        before=MINED,
    ),
    Case(
        "a sample has no piece of a format",
        ("knowledge", "for", "o34", "--domains", "all", "--sample", "half", "--knowledge", "thought"),
        "sample 'half' has no kept thoughts; it has",
        before=RULES,
    ),
    Case(
        "a level is deeper than any category",
        ("knowledge", "mine", "--level", "99", "--replace"),
        "level 99 cannot be mined: the deepest category in the training sessions of dataset 'demo' has 4 levels",
        before=MINED,
    ),
    Case(
        "one of several levels is deeper than any category",
        ("knowledge", "mine", "--level", "2", "--level", "5"),
        "level 5 cannot be mined",
        before=MINED,
    ),
    Case(
        "a level has more digits than a number can have",
        ("knowledge", "mine", "--level", "9" * 40),
        "cannot be mined",
        before=MINED,
    ),
    Case(
        "no pattern has the minimum support",
        ("knowledge", "mine", "--min-support", "1", "--replace"),
        "no pattern of dataset 'demo' has a support of 1 at these levels, so nothing was changed",
        before=MINED,
    ),
    Case(
        "no product has a category to mine",
        ("knowledge", "mine"),
        "no product in the training sessions of dataset 'flat' has a category to mine",
        files={"flat.jsonl": FLAT},
        before=(("data", "import", "{tmp}/flat.jsonl", "--dataset", "flat"),),
    ),
    refused("a level is zero", "knowledge", "mine", "--level", "0", expected="--level"),
    refused("a level is a fraction", "knowledge", "mine", "--level", "1.5", expected="--level"),
    refused("a support is above one", "knowledge", "mine", "--min-support", "1.1", expected="--min-support"),
    refused("a support is below zero", "knowledge", "mine", "--min-support=-0.1", expected="--min-support"),
    refused("a support is not a number", "knowledge", "mine", "--min-support", "nan", expected="--min-support"),
    refused("a pattern has one category at most", "knowledge", "mine", "--max-size", "1", expected="--max-size"),
    refused("a distillation is limited to 0 sessions", "knowledge", "distill", "--limit", "0", expected="--limit"),
    *(
        refused(
            f"{option} of a distillation is {value}",
            *("knowledge", "distill", "--teacher", "http://x/v1#m", f"{option}={value}"),
            expected=option,
        )
        for option, values in (
            ("--timeout", ("nan", "inf", "-1")),
            *((each, ("nan", "-1")) for each in ("--prompt-price", "--answer-price", "--max-cost")),
        )
        for value in values
    ),
    *(
        refused(
            f"{option} of a distillation is too large",
            *("knowledge", "distill", "--teacher", "http://x/v1#m", option, "9" * 400),
            expected=option,
        )
        for option in ("--limit", "--max-calls", "--requests-per-minute", "--tokens-per-minute", "--concurrency")
    ),
    *(
        refused(
            f"{option} of a prompt is too large",
            *("knowledge", "for", "o01", option, "9" * 400),
            expected=option,
        )
        for option in ("--budget", "--neighbours")
    ),
    refused("a seed is too large to be stored", "sample", "create", "x", "--seed", "9" * 30, expected="--seed"),
    refused("a sample has a blank name", "sample", "create", " ", expected="a sample needs a name"),
    refused(
        "a draw is to include rejected pieces",
        *("sample", "create", "x", "--all"),
        expected="rejected pieces are never drawn",
    ),
    *(
        Case(
            f"a sample of a ratio of {ratio}",
            ("sample", "create", "x", f"--ratio={ratio}"),
            "a ratio must be above 0 and at most 1",
            before=DISTILLED,
        )
        for ratio in ("0", "-0.5", "1.01", "nan", "inf")
    ),
    Case(
        "a sample is picked by a search without matches",
        ("sample", "create", "x", "--query", "zzz"),
        "no knowledge matches zzz; kdtui knowledge ls --all shows all of it",
        before=MINED,
        forbidden=("of these numbers",),
    ),
    Case(
        "a search without matches is to delete knowledge",
        ("knowledge", "rm", "--query", "zzz", "--yes"),
        "no knowledge matches zzz",
        before=MINED,
        forbidden=("of these numbers",),
    ),
    Case(
        "a search without matches is to export knowledge",
        ("knowledge", "export", "--query", "zzz", "--output", "{tmp}/out"),
        "no knowledge matches zzz",
        before=MINED,
        forbidden=("of these numbers",),
    ),
    Case(
        "a sample is picked without any knowledge",
        ("sample", "create", "x", "--query", ""),
        "no knowledge is stored yet",
        before=(DEMO,),
    ),
    Case(
        "a sample is picked by numbers that no piece has",
        ("sample", "create", "x", "--pieces", "7000-7010"),
        "there is no knowledge of these numbers",
        before=MINED,
    ),
    Case(
        "a sample is picked by a word in place of numbers",
        ("sample", "create", "x", "--pieces", "all"),
        "is neither a number nor a range of numbers",
        before=MINED,
    ),
    Case(
        "a sample is picked by a search that finds rejected pieces, too",
        ("sample", "create", "x", "--query", "format:rule"),
        "are left out, since they are never shown to a student (--all includes them)",
        code=0,
        before=DISTILLED,
    ),
    Case(
        "a sample is picked by a search for rejected pieces",
        ("sample", "create", "x", "--query", "status:rejected"),
        "sample x has",
        code=0,
        before=DISTILLED,
        forbidden=("left out",),
    ),
    Case(
        "a sample is picked by a search that finds only rejected pieces",
        ("sample", "create", "x", "--query", "precision:<0.5"),
        "all of it is rejected",
        before=DISTILLED,
    ),
    Case(
        "patterns of a sample without patterns are shown",
        ("knowledge", "for", "o34", "--knowledge", "pattern", "--sample", "half"),
        "sample 'half' has no kept patterns of dataset 'demo'; it has 1 rule of demo. Add some with "
        "kdtui sample create NAME --add-to half --dataset demo --format pattern, or show --knowledge rule, or leave "
        "out --sample",
        before=(*MINED, ("knowledge", "distill"), ("sample", "create", "half", "--format", "rule", "--ratio", "0.01")),
        forbidden=("knowledge mine",),
    ),
    Case(
        "a format that neither sample nor dataset has is shown",
        ("knowledge", "for", "o34", "--knowledge", "pattern", "--sample", "half"),
        "The dataset has none either: find some with kdtui knowledge mine --dataset demo",
        before=RULES,
    ),
    Case(
        "a sample of one dataset is shown for another",
        ("knowledge", "for", "o34", "--dataset", "two words", "--knowledge", "rule", "--sample", "half"),
        "kdtui knowledge distill --format rule --dataset 'two words'",
        before=(*RULES, ("data", "import", "{outdoor}", "--dataset", "two words")),
    ),
    Case(
        "the pattern student gets a sample",
        ("evaluate", "--student", "patterns", "--sample", "half"),
        "is shown no knowledge; leave out --sample",
        before=RULES,
        forbidden=("name the formats with --knowledge",),
    ),
    Case(
        "the pattern student gets rules of a sample",
        ("generate", "o34", "--student", "patterns", "--knowledge", "rule", "--sample", "half"),
        "is shown no knowledge; leave out --knowledge and --sample",
        before=RULES,
    ),
    Case(
        "an endpoint with the strategy aicl gets a budget",
        ("generate", "o34", "--student", "http://x/v1#m", "--strategy", "aicl", "--budget", "5"),
        "leave out --budget",
        before=(DEMO,),
        forbidden=("name the formats with --knowledge",),
    ),
    Case(
        "a sample is named without --knowledge",
        ("generate", "o34", "--student", "smollm2", "--sample", "half"),
        "--sample is about knowledge that a student is shown; name the formats with --knowledge",
        before=RULES,
    ),
    Case(
        "a format without knowledge is listed",
        ("knowledge", "ls", "--format", "thought"),
        "no knowledge matches; kdtui knowledge ls --all shows all of it",
        code=0,
        before=MINED,
        forbidden=("there is no knowledge yet", "there is none yet"),
    ),
    Case(
        "rejected patterns are listed, and all are kept",
        ("knowledge", "ls", "--rejected"),
        "no rejected knowledge matches",
        code=0,
        before=MINED,
    ),
    Case(
        "a search matches only rejected pieces",
        ("knowledge", "search", "precision:<0.5"),
        "no kept knowledge matches, but",
        code=0,
        before=DISTILLED,
    ),
    Case(
        "knowledge is listed, and there is none",
        ("knowledge", "ls"),
        "there is no knowledge yet",
        code=0,
        before=(DEMO,),
    ),
    Case(
        "imported knowledge comes from other sessions",
        ("knowledge", "import", "{tmp}/one.jsonl"),
        "1 piece comes from training sessions that are not in dataset demo",
        code=0,
        files={"one.jsonl": THOUGHT},
        before=(DEMO,),
    ),
    Case(
        "a filter for the origin has no value",
        ("knowledge", "search", "origin:"),
        "origin: needs a value",
        before=MINED,
    ),
]
