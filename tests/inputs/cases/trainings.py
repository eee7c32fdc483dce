"""Trainings that cannot be started, estimated or stopped."""

from tests.inputs.case import DEMO, Case

_LAUNCH = ("sft", "launch", "--dataset", "demo", "--dry-run", "--name")

CASES = [
    Case("a training has an invalid name", (*_LAUNCH, "a b"), "'a b' cannot be a name", before=(DEMO,)),
    Case(
        "a training has a dropout above 1",
        (*_LAUNCH, "x", "--dropout", "1.5"),
        "dropout cannot be 1.5",
        before=(DEMO,),
    ),
    Case(
        "the learning rate of a training is not a number",
        (*_LAUNCH, "x", "--learning-rate", "nan"),
        "learning_rate cannot be nan",
        before=(DEMO,),
    ),
    Case(
        "the host of a training does not exist",
        (*_LAUNCH, "x", "--host", "moon"),
        "there is no host 'moon'",
        before=(DEMO,),
    ),
    Case(
        "the dataset of a training does not exist",
        ("sft", "launch", "--dry-run", "--name", "x", "--dataset", "nothing"),
        "there is no dataset 'nothing'",
        before=(DEMO,),
    ),
    Case(
        "all examples of a training are too long",
        (*_LAUNCH, "x", "--longest", "3"),
        "all 22 sessions have more than 3 tokens; raise --longest",
        before=(DEMO,),
    ),
    Case(
        "a training that begins from an adapter of another form",
        (*_LAUNCH, "x", "--from", "shipped", "--form", "list"),
        "adapter 'shipped' was trained to write the intents of bundles, and not to write lists of bundles",
        before=(DEMO,),
    ),
    Case(
        "a training that begins from an adapter of another rank",
        (*_LAUNCH, "x", "--from", "shipped", "--rank", "16"),
        "adapter 'shipped' has rank 8, and a training from it keeps that; leave out --rank",
        before=(DEMO,),
    ),
    Case(
        "a training that begins from an adapter that does not exist",
        (*_LAUNCH, "x", "--from", "shiped"),
        "there is no adapter 'shiped' to begin from; did you mean 'shipped'?",
        before=(DEMO,),
    ),
    Case(
        "a training that begins from a folder that holds no adapter",
        (*_LAUNCH, "x", "--from", "{tmp}"),
        "adapter_config.json is missing, so no training can continue this adapter",
        before=(DEMO,),
    ),
    Case(
        "a training that begins from a file that is no adapter",
        (*_LAUNCH, "x", "--from", "{tmp}/none.gguf"),
        "none.gguf: this is not a GGUF file",
        files={"none.gguf": "nothing"},
        before=(DEMO,),
    ),
    Case(
        "a training that begins from an adapter with DoRA",
        (*_LAUNCH, "x", "--from", "{tmp}"),
        "a GGUF adapter cannot hold use_dora=True; train without it",
        files={
            "adapter_config.json": '{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], "use_dora": true}',
            "adapter_model.safetensors": "",
        },
        before=(DEMO,),
    ),
    Case(
        "a training of intents with other knowledge than its adapter",
        (*_LAUNCH, "x", "--from", "shipped", "--knowledge", "rule"),
        "a student that writes only intents names the bundles of the pair model",
        before=(DEMO,),
    ),
    Case(
        "a default adapter that does not exist",
        ("sft", "default", "camping", "--dataset", "demo"),
        "there is no adapter 'camping'",
        before=(DEMO,),
    ),
    Case(
        "a default adapter of a dataset that does not exist",
        ("sft", "default", "shipped", "--dataset", "nothing"),
        "there is no dataset 'nothing'",
        before=(DEMO,),
    ),
    Case(
        "--none comes with an adapter",
        ("sft", "default", "shipped", "--none"),
        "--none removes a default; leave out the adapter",
        code=2,
    ),
    Case(
        "a missing default is removed",
        ("sft", "default", "--none", "--dataset", "demo"),
        "dataset 'demo' has no default adapter; the shipped student answers it",
        before=(DEMO,),
    ),
    Case("a training to kill does not exist", ("sft", "cancel", "x", "--now"), "there is no training 'x'"),
]
