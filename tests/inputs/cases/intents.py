"""Trainings on intents alone, with what such a student is not shown."""

from tests.inputs.case import DEMO, Case

_LAUNCH = ("sft", "launch", "--dataset", "demo", "--dry-run", "--name", "x", "--form", "intents")
_SENTENCE = "use --knowledge pattern with --form intents"

CASES = [
    Case("a training on intents without patterns to take the bundles from", _LAUNCH, _SENTENCE, before=(DEMO,)),
    Case(
        "a training on intents that is to show rules",
        (*_LAUNCH, "--knowledge", "pattern,rule"),
        _SENTENCE,
        before=(DEMO,),
    ),
    Case(
        "a training on intents that is to write thoughts",
        (*_LAUNCH, "--knowledge", "thought", "--as", "target"),
        _SENTENCE,
        before=(DEMO,),
    ),
    Case(
        "the usual student is to be shown knowledge",
        ("generate", "o34", "--dataset", "demo", "--knowledge", "rule"),
        "is shown no knowledge; leave out --knowledge, or use --student smollm2",
        before=(DEMO,),
    ),
    Case(
        "the usual student is to be calibrated",
        ("calibrate", "--dataset", "demo", "--student", "shipped"),
        "the shipped student names the bundles of the pattern student, which is calibrated whenever it learns",
        before=(DEMO,),
    ),
    Case(
        "a form that there is not",
        ("sft", "launch", "--dataset", "demo", "--name", "x", "--form", "intent"),
        "--form is pairs, list or intents, not 'intent'",
        code=2,
        before=(DEMO,),
    ),
]
