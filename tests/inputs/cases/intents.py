"""Trainings of intents, with knowledge that their students do not see."""

from tests.inputs.case import DEMO, Case

_LAUNCH = ("sft", "launch", "--dataset", "demo", "--dry-run", "--name", "x", "--form", "intents")
_SENTENCE = "use --knowledge pattern with --form intents"

CASES = [
    Case("a training of intents without patterns", _LAUNCH, _SENTENCE, before=(DEMO,)),
    Case(
        "a training of intents with rules",
        (*_LAUNCH, "--knowledge", "pattern,rule"),
        _SENTENCE,
        before=(DEMO,),
    ),
    Case(
        "a training of intents that writes thoughts",
        (*_LAUNCH, "--knowledge", "thought", "--as", "target"),
        _SENTENCE,
        before=(DEMO,),
    ),
    Case(
        "the default student gets knowledge",
        ("generate", "o34", "--dataset", "demo", "--knowledge", "rule"),
        "is shown no knowledge; leave out --knowledge, or use --student smollm2",
        before=(DEMO,),
    ),
    Case(
        "the default student is calibrated",
        ("calibrate", "--dataset", "demo", "--student", "shipped"),
        "the shipped student names the bundles of the pattern student, which is calibrated whenever it learns",
        before=(DEMO,),
    ),
    Case(
        "a form that does not exist",
        ("sft", "launch", "--dataset", "demo", "--name", "x", "--form", "intent"),
        "--form is pairs, list or intents, not 'intent'",
        code=2,
        before=(DEMO,),
    ),
]
