"""Trainings that cannot be started or stopped, also where nothing but their cost is asked for."""

from tests.inputs.case import DEMO, Case

_LAUNCH = ("sft", "launch", "--dataset", "demo", "--dry-run", "--name")

CASES = [
    Case("the cost of a training that no name can have", (*_LAUNCH, "a b"), "'a b' cannot be a name", before=(DEMO,)),
    Case(
        "the cost of a training with a share that is more than all",
        (*_LAUNCH, "x", "--dropout", "1.5"),
        "dropout cannot be 1.5",
        before=(DEMO,),
    ),
    Case(
        "the cost of a training with a rate that is no number",
        (*_LAUNCH, "x", "--learning-rate", "nan"),
        "learning_rate cannot be nan",
        before=(DEMO,),
    ),
    Case(
        "the cost of a training on a host that is not known",
        (*_LAUNCH, "x", "--host", "moon"),
        "there is no host 'moon'",
        before=(DEMO,),
    ),
    Case(
        "the cost of a training on a dataset that is not there",
        ("sft", "launch", "--dry-run", "--name", "x", "--dataset", "nothing"),
        "there is no dataset 'nothing'",
        before=(DEMO,),
    ),
    Case(
        "the cost of a training whose examples are all too long",
        (*_LAUNCH, "x", "--longest", "3"),
        "all 22 sessions have more than 3 tokens; raise --longest",
        before=(DEMO,),
    ),
    Case("a training that is to be killed is not there", ("sft", "cancel", "x", "--now"), "there is no training 'x'"),
]
