"""A training as `job.json` describes it."""

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from math import cos, pi
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from models.errors import ModelError
from models.files.json_files import read_object

VERSION = 1
"""The version of job.json; a trainer refuses others."""

Precision = Literal["auto", "float32", "bfloat16"]

_T = TypeVar("_T")

RANK, EPOCHS, LEARNING_RATE, CONTINUED_LEARNING_RATE = 16, 2, 5e-4, 2e-4
"""For a training from the base, and for one that begins from an adapter; see docs/student.md."""


@dataclass(frozen=True, slots=True)
class Lora:
    """The adapter: `alpha / rank * B @ A` added to each of the target weights, the names of linear layers."""

    rank: int = RANK
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Optimizer:
    """AdamW (Loshchilov and Hutter, 2019) with a cosine schedule.

    Attributes:
        warmup: share of the steps in which the learning rate rises from zero.
        clip: maximum norm of the gradient.
        accumulate: batches per step and process, as the training begins. Resumed with other processes, it keeps the
            batches that all of them had together.
    """

    learning_rate: float = LEARNING_RATE
    weight_decay: float = 0.01
    warmup: float = 0.05
    clip: float = 1.0
    accumulate: int = 1

    def rate_at(self, step: int, total: int) -> float:
        """Return the learning rate of a step: linear warm-up, then half a cosine (Loshchilov and Hutter, 2017)."""
        rising = self.warmup * total
        if step < rising:
            return self.learning_rate * (step + 1) / (rising + 1)
        done = (step - rising) / max(total - rising, 1)
        return self.learning_rate * (1 + cos(pi * done)) / 2


@dataclass(frozen=True, slots=True)
class Start:
    """The adapter that a training begins from. Its files are in the job directory; see `models.sft.start`.

    Attributes:
        name: of the adapter on the machine that made the training.
        sha256: of its weights.
    """

    name: str
    sha256: str


ANSWER_PASSES = 2
"""Times that a training with `answers` reads the validation examples after its last step."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to train, on what, and how.

    Attributes:
        base: a folder of transformers, a GGUF file (which is de-quantized), or the id of a model on the hub.
        epochs: of the training examples; examples written for an epoch of their own are used only in that one.
        batch_tokens: tokens of a batch, including padding.
        longest: tokens of an example; longer ones are skipped and counted.
        precision: auto is bfloat16 on GPUs that support it, and otherwise float32.
        recompute: keep fewer activations, and compute them twice (gradient checkpointing).
        evaluations: on the validation examples, per epoch.
        patience: stop after this number of evaluations without an improvement; None to train all epochs.
        checkpoints: per epoch.
        lora: if an adapter is continued, its own settings count; only the dropout is taken from here.
        answers: whether to answer the validation examples at the end, with the adapter and as before the training, to
            show whether the training helped.
        start: the adapter to begin from; None to begin from the base.
        manifest: further facts for the manifest of the adapter.
    """

    base: str
    epochs: int = EPOCHS
    seed: int = 0
    batch_tokens: int = 2048
    longest: int = 2048
    precision: Precision = "auto"
    recompute: bool = False
    evaluations: int = 2
    patience: int | None = None
    checkpoints: int = 4
    lora: Lora = field(default_factory=Lora)
    optimizer: Optimizer = field(default_factory=Optimizer)
    answers: bool = True
    start: Start | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION


_MINIMA: dict[str, float] = {
    "epochs": 1,
    "batch_tokens": 1,
    "longest": 1,
    "evaluations": 1,
    "checkpoints": 1,
    "patience": 1,
    "rank": 1,
    "accumulate": 1,
    "seed": 0,
    "dropout": 0,
    "weight_decay": 0,
    "warmup": 0,
}
_POSITIVE = ("learning_rate", "clip", "alpha")
_BELOW_ONE = ("dropout", "warmup")


def read_job(path: Path) -> Job:
    """Read and check `job.json`.

    Raises:
        ModelError: it is missing, not JSON, or invalid.
    """
    content = read_object(path)
    version = content.get("version", VERSION)
    if version != VERSION:
        raise ModelError(f"{path}: this is a job of version {version!r}, and this trainer knows version {VERSION}")
    return _read(Job, content, str(path))


def check_job(job: Job) -> None:
    """Refuse a job that a trainer would refuse.

    Raises:
        ModelError: the job is invalid; the message names the setting.
    """
    _read(Job, json.loads(json.dumps(asdict(job))), "the training")


def spread(length: int, times: int) -> set[int]:
    """Return `times` evenly spread steps of 1 to `length`, including the last: when to evaluate, or to save."""
    return {-(-length * number // times) for number in range(1, times + 1)}


def _read(kind: type[_T], content: object, where: str) -> _T:
    if not isinstance(content, dict):
        raise ModelError(f"{where}: an object is expected")
    hints = get_type_hints(kind)
    unknown = sorted(set(content) - set(hints))
    if unknown:
        raise ModelError(f"{where}: there is no setting {unknown[0]!r}; there are: {', '.join(hints)}")
    values = {}
    for each in fields(kind):  # type: ignore[arg-type]
        if each.name in content:
            values[each.name] = _value(hints[each.name], content[each.name], f"{where}: {each.name}")
            _check(each.name, values[each.name], where)
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ModelError(f"{where}: {each.name} is missing")
    return kind(**values)


def _value(kind: Any, value: object, where: str) -> Any:
    if kind in (Lora, Optimizer):
        return _read(kind, value, where)
    if kind == Start | None:
        return None if value is None else _read(Start, value, where)
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise ModelError(f"{where} is one of {', '.join(get_args(kind))}, not {value!r}")
    if get_origin(kind) is tuple:
        if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            return tuple(value)
        raise ModelError(f"{where} is a list of names, not {value!r}")
    if get_origin(kind) is dict or kind is dict:
        if isinstance(value, dict):
            return value
        raise ModelError(f"{where} is an object, not {value!r}")
    allowed = get_args(kind) or (kind,)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise ModelError(f"{where} is too large") from error
    # In Python True is an int, but it is not a number of epochs.
    if type(value) in allowed:
        return value
    raise ModelError(f"{where} cannot be {value!r}")


def _check(name: str, value: object, where: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    wrong = (
        value != value
        or value in (float("inf"), float("-inf"))
        or value < _MINIMA.get(name, value)
        or (name in _POSITIVE and value <= 0)
        or (name in _BELOW_ONE and value >= 1)
    )
    if wrong:
        raise ModelError(f"{where}: {name} cannot be {value!r}")
