"""The steps of a study. A step is identified by its settings: equal steps are the same step, and are done once."""

from collections.abc import Callable
from hashlib import sha256
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from kdtui.distill.sampling import SampleStrategy
from kdtui.workflows.model_names import ROUTED, is_endpoint
from store.records import FORMATS, Format, RunSettings, Split, TrainingSettings

ANY = "any"
"""The teacher name that stands for all knowledge in the store."""

Form: TypeAlias = Literal["list", "pairs"]

Mixing: TypeAlias = Literal["routed", "merged"]
"""How several adapters become one student."""


class KnowledgeStep(Struct, frozen=True, tag="knowledge", tag_field="kind"):
    """Mine or distil knowledge of one format from the training sessions of a dataset.

    Attributes:
        teacher: of the knowledge; "any" if that makes no difference.
    """

    dataset: str
    format: Format
    teacher: str


class SampleStep(Struct, frozen=True, tag="sample", tag_field="kind"):
    """Draw a sample of the knowledge of some datasets; see `kdtui.workflows.knowledge.sample.create_sample`.

    Attributes:
        student: whose zero-shot answers say how difficult a session is; None for the other strategies.
    """

    datasets: tuple[str, ...]
    formats: tuple[Format, ...]
    teacher: str
    strategy: SampleStrategy
    ratio: float
    seed: int
    student: str | None = None


# Without defaults, so that steps from before `start` was added keep their key.
class TrainingStep(Struct, frozen=True, tag="training", tag_field="kind", omit_defaults=True):
    """Train an adapter; see `kdtui.workflows.training.plan.TrainingPlan`.

    Attributes:
        rank: of the adapter; 0 for that of the adapter that it begins from.
        batch_tokens: None for the usual number.
        sessions: training sessions of each dataset, drawn by chance; None for all.
        start: the adapter that it begins from; None for the base without one.
    """

    datasets: tuple[str, ...]
    form: Form
    formats: tuple[Format, ...]
    sample: SampleStep | None
    base: str
    rank: int
    epochs: int
    learning_rate: float
    batch_tokens: int | None
    longest: int
    sessions: int | None
    seed: int
    start: str | None = None


class MixtureStep(Struct, frozen=True, tag="mixture", tag_field="kind"):
    """Make one student from several adapters: one for each format and one without knowledge.

    Attributes:
        dataset: on whose validation sessions routed adapters are compared.
        how: "routed": a router chooses one of them for each session, see `kdtui.workflows.adapters.routers`;
            "merged": their mean is one adapter, see `kdtui.workflows.adapters.merge`.
        trainings: of the adapters.
    """

    dataset: str
    how: Mixing
    trainings: tuple[TrainingStep, ...]

    @property
    def answers(self) -> "tuple[EvaluationStep, ...]":
        """The answers of each adapter to the validation sessions, shown the knowledge that it was trained with."""
        return tuple(
            EvaluationStep(
                self.dataset,
                "valid",
                None,
                0,
                each.base,
                each.form,
                each.formats,
                each.sample if each.datasets == (self.dataset,) or not each.formats else each.sample or _all_of(each),
                each,
                is_calibrated=False,
            )
            for each in self.trainings
        )


def _all_of(training: TrainingStep) -> SampleStep:
    """Return the sample of all knowledge of a training: only a sample can show knowledge of other datasets."""
    return SampleStep(training.datasets, training.formats, ANY, "random", 1.0, 0)


class CalibrationStep(Struct, frozen=True, tag="calibration", tag_field="kind"):
    """Calibrate a student that answers about pairs, on the validation sessions of a dataset."""

    dataset: str
    student: str
    form: Form
    shown: tuple[Format, ...]
    sample: SampleStep | None
    training: TrainingStep | None


# Without defaults, so that steps from before `mixture` was added keep their key.
class EvaluationStep(Struct, frozen=True, tag="evaluation", tag_field="kind", omit_defaults=True):
    """Have a student answer sessions: a cell of a study.

    Attributes:
        sessions, draw: answered sessions of the split, and the seed of their draw; None and 0 for all.
        shown: formats of the knowledge in its prompt.
        sample: that this knowledge is taken from; None for all.
        training: of its adapter; None for the base without one.
        is_calibrated: whether it is calibrated first.
        mixture: its adapters, if it has several; each is shown the knowledge that it was trained with.
    """

    dataset: str
    split: Split
    sessions: int | None
    draw: int
    student: str
    form: Form
    shown: tuple[Format, ...]
    sample: SampleStep | None
    training: TrainingStep | None
    is_calibrated: bool
    mixture: MixtureStep | None = None

    @property
    def calibration(self) -> CalibrationStep | None:
        """Its calibration; None without one."""
        if not self.is_calibrated:
            return None
        return CalibrationStep(self.dataset, self.student, self.form, self.shown, self.sample, self.training)


Step: TypeAlias = KnowledgeStep | SampleStep | TrainingStep | MixtureStep | CalibrationStep | EvaluationStep
Kind: TypeAlias = Literal["knowledge", "sample", "training", "mixture", "calibration", "evaluation"]

KINDS: tuple[Kind, ...] = ("knowledge", "sample", "training", "mixture", "calibration", "evaluation")
"""In the order in which a study does them."""

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Step] = msgspec.json.Decoder(Step)


def step_key(step: Step) -> str:
    """Hash the settings of a step, in hexadecimal."""
    return sha256(_encode(step)).hexdigest()


def step_kind(step: Step) -> Kind:
    match step:
        case KnowledgeStep():
            return "knowledge"
        case SampleStep():
            return "sample"
        case TrainingStep():
            return "training"
        case MixtureStep():
            return "mixture"
        case CalibrationStep():
            return "calibration"
        case EvaluationStep():
            return "evaluation"


def new_name(step: Step, basis: str) -> str:
    """Return the name for the sample, training or mixture that a step makes.

    Args:
        basis: what it is made from. Another basis gives another name, so that nothing is replaced.
    """
    return f"study-{sha256(f'{step_key(step)} {basis}'.encode()).hexdigest()[:12]}"


def encoded_step(step: Step) -> str:
    """Encode the settings as JSON."""
    return _encode(step).decode()


def decoded_step(text: str) -> Step:
    """Decode the step of these settings.

    Raises:
        msgspec.MsgspecError: another version wrote them.
    """
    return _decoder.decode(text)


def prerequisites(step: Step) -> tuple[Step, ...]:
    """Return the steps that must be done right before a step."""
    match step:
        case KnowledgeStep():
            return ()
        case SampleStep():
            return (*_knowledge(step.datasets, step.formats, step.teacher), *zero_shot_runs(step))
        case TrainingStep():
            return _sampled(step.sample) or _knowledge(step.datasets, step.formats, ANY)
        case MixtureStep():
            return step.answers if step.how == "routed" else step.trainings
        case CalibrationStep() | EvaluationStep():
            shown = _sampled(step.sample) or _knowledge((step.dataset,), step.shown, ANY)
            trained: tuple[Step, ...] = () if step.training is None else (step.training,)
            calibrated: tuple[Step, ...] = ()
            if isinstance(step, EvaluationStep) and step.calibration is not None:
                calibrated = (step.calibration,)
            if isinstance(step, EvaluationStep) and step.mixture is not None:
                trained = (step.mixture,)
            return (*shown, *trained, *calibrated)


def _knowledge(datasets: tuple[str, ...], formats: tuple[Format, ...], teacher: str) -> tuple[Step, ...]:
    return tuple(
        KnowledgeStep(dataset, format, ANY if format == "pattern" else teacher)
        for dataset in datasets
        for format in FORMATS
        if format in formats
    )


def _sampled(sample: SampleStep | None) -> tuple[Step, ...]:
    return () if sample is None else (sample,)


def zero_shot_runs(sample: SampleStep) -> tuple[EvaluationStep, ...]:
    """Return the runs that measure the difficulty of training sessions, for a sample that is drawn by difficulty."""
    if sample.student is None:
        return ()
    return tuple(
        EvaluationStep(dataset, "train", None, 0, sample.student, "list", (), None, None, is_calibrated=False)
        for dataset in sample.datasets
    )


def run_settings(step: CalibrationStep | EvaluationStep, name_of: Callable[[Step], str]) -> RunSettings:
    """Return the settings of a student in a step. Files of models are absolute paths.

    Args:
        name_of: returns the name of what a finished step made.
    """
    from kdtui.workflows.student.settings import settings_for

    limit, draw = (step.sessions, step.draw) if isinstance(step, EvaluationStep) else (None, None)
    adapters = None if step.training is None else ((name_of(step.training), 1.0),)
    if isinstance(step, EvaluationStep) and step.mixture is not None:
        prefix = ROUTED if step.mixture.how == "routed" else ""
        adapters = ((f"{prefix}{name_of(step.mixture)}", 1.0),)
    return settings_for(
        step.student,
        step.shown,
        limit=limit,
        seed=draw,
        # An endpoint writes lists in its own way.
        strategy=None if is_endpoint(step.student) else step.form,
        adapters=adapters,
        sample=None if step.sample is None else name_of(step.sample),
        domains="own" if step.sample is None or step.sample.datasets == (step.dataset,) else "all",
    )


def training_settings(step: TrainingStep, name_of: Callable[[Step], str]) -> TrainingSettings:
    """Return the settings of the training set of a step; see `run_settings`."""
    return TrainingSettings(
        step.datasets,
        step.form,
        step.formats,
        sample=None if step.sample is None else name_of(step.sample),
        epochs=step.epochs,
        seed=step.seed,
        limit=step.sessions,
    )
