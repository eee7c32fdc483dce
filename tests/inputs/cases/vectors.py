"""The sentence encoder in place of another model, and missing vectors."""

from tests.inputs.case import DEMO, Case

_ANSWERS_NOTHING = "minilm is a sentence encoder: it makes vectors (kdtui data embed), and answers nothing"

CASES = [
    *(
        Case(
            f"the sentence encoder is the student of {command[0]} {command[1]}",
            command,
            _ANSWERS_NOTHING,
            before=(DEMO,),
        )
        for command in (
            ("generate", "o34", "--student", "minilm"),
            ("evaluate", "--dataset", "demo", "--student", "minilm"),
            ("knowledge", "distill", "--teacher", "minilm"),
            ("model", "quantize", "minilm"),
        )
    ),
    Case(
        "the sentence encoder is trained",
        ("sft", "data", "--base", "minilm"),
        "minilm is a sentence encoder that cannot be trained; choose a base: smollm2",
        before=(DEMO,),
    ),
    Case(
        "the sentence encoder is deleted",
        ("model", "rm", "minilm", "--yes"),
        "there is no model 'minilm'",
    ),
    Case(
        "a dataset has no vectors of the sentence encoder yet",
        ("knowledge", "for", "o34", "--knowledge", "thought", "--near", "minilm"),
        "kdtui data embed --dataset demo --with minilm",
        before=(DEMO, ("knowledge", "distill", "--teacher", "annotations")),
    ),
    Case(
        "vectors are made twice",
        ("data", "embed"),
        "sessions of dataset demo have a vector of minilm",
        code=0,
        before=(DEMO, ("data", "embed")),
    ),
]
