"""The plain values that the store accepts and returns: items, bundles, sessions and settings.

They are msgspec structs: as light as tuples, and decoded directly from JSON. They cannot be part of a reference cycle,
so the garbage collector skips them (`gc=False`), which makes the import of millions of them twice as fast.
"""

from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

Split: TypeAlias = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

Format: TypeAlias = Literal["pattern", "rule", "thought"]
"""Formats of knowledge, from the simplest to the richest."""
FORMATS: tuple[Format, ...] = get_args(Format)

Status: TypeAlias = Literal["kept", "rejected"]
STATUSES: tuple[Status, ...] = get_args(Status)

Measure: TypeAlias = Literal["support", "precision", "confidence", "lift"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

KnowledgeSort: TypeAlias = Literal["match", "support", "precision", "confidence", "lift", "newest"]
"""Orders of knowledge, greatest first."""
KNOWLEDGE_SORTS: tuple[KnowledgeSort, ...] = get_args(KnowledgeSort)

Name: TypeAlias = Annotated[str, Meta(min_length=1)]
"""A non-empty id; decoding refuses an empty one."""

LONGEST_TEXT = 1_000_000
"""Maximum length of a title or category name; decoding refuses longer ones, which cannot be real."""

Title: TypeAlias = Annotated[str, Meta(max_length=LONGEST_TEXT)]

CategoryPath: TypeAlias = Annotated[tuple[Title, ...], Meta(min_length=1)]
"""Category names from the widest to the narrowest."""


class Item(Struct, frozen=True, gc=False):
    """A product. `title` is None if the source has none; the first category path is the main one."""

    id: Name
    title: Title | None = None
    categories: tuple[CategoryPath, ...] = ()

    @property
    def main_category(self) -> CategoryPath:
        """The first category path; empty without categories."""
        return self.categories[0] if self.categories else ()


class Bundle(Struct, frozen=True, gc=False):
    """Products of one session that belong together: their positions in it (1-based, ascending), and the intent."""

    positions: tuple[int, ...]
    intent: str = ""


class Session(Struct, frozen=True, gc=False):
    """The products that a shopper interacted with, in order, and the bundles that annotators saw in them."""

    id: str
    items: tuple[Item, ...]
    bundles: tuple[Bundle, ...] = ()
    split: Split | None = None


class Bound(Struct, frozen=True):
    """A bound on a measure: it compares by `operator` with `value`."""

    measure: Measure
    operator: Literal[">", ">=", "<", "<=", "="]
    value: float


class KnowledgeQuery(Struct, frozen=True):
    """A query for knowledge. All conditions must hold; of several formats, datasets and so on, any one.

    Attributes:
        words: words of the statement, each whole or as the beginning of a longer one.
        origins: datasets or files that pieces were imported from.
        bounds: bounds on measures; a piece that lacks the measure does not match.
    """

    words: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()
    datasets: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    statuses: tuple[Status, ...] = ()
    samples: tuple[str, ...] = ()
    bounds: tuple[Bound, ...] = ()
    origins: tuple[str, ...] = ()


class RunSettings(Struct, frozen=True):
    """Everything needed to resume a run.

    Attributes:
        student: name of the student.
        knowledge: formats that the prompt shows.
        limit: number of sessions of the split; None for all.
        seed: seed that draws them; None without a limit, and in runs of earlier versions, which took the first sessions
            in import order.
        context: tokens of the context; None for the default.
        strategy: prompting strategy; None for the best one by calibration.
        adapters: LoRA adapters, each a file and its scale.
        sample: sample that the knowledge comes from; None for all knowledge.
        neighbours: training sessions whose thoughts are shown; None for the default.
        budget: tokens of rules and thoughts for one session; None for the default.
        near: embedding model whose vectors find near training sessions; None to compare words.
        prompt_price, answer_price: price of a million tokens that an endpoint reads and writes; None if unknown.
        domains: whether to show the sample's knowledge of the run's dataset only, or of all its datasets.
    """

    student: str
    knowledge: tuple[str, ...] = ()
    limit: int | None = None
    context: int | None = None
    strategy: str | None = None
    adapters: tuple[tuple[str, float], ...] = ()
    sample: str | None = None
    neighbours: int | None = None
    budget: int | None = None
    near: str | None = None
    seed: int | None = None
    prompt_price: float | None = None
    answer_price: float | None = None
    domains: Literal["own", "all"] = "own"


class TrainingSettings(Struct, frozen=True):
    """What a training set is made of.

    Attributes:
        datasets: datasets whose training sessions it contains.
        form: the student's task: list the bundles, judge pairs of products, or name the intents of known bundles.
        knowledge: formats that the prompt shows, or that the student learns to write.
        target: whether the student learns to write the knowledge instead of seeing it in the prompt.
        sample: sample that the knowledge and the training sessions come from; None for all.
        neighbours, budget: of the shown knowledge, as in `RunSettings`.
        epochs: number of passes over the sessions, each with the products shuffled anew.
        seed: seed of the shuffling.
        limit: training sessions of each dataset, drawn at random; a larger draw contains a smaller one. None for all.
        began_from: adapter that the training started from; None if it started from the base.
    """

    datasets: tuple[str, ...]
    form: Literal["list", "pairs", "intents"] = "pairs"
    knowledge: tuple[str, ...] = ()
    target: bool = False
    sample: str | None = None
    neighbours: int | None = None
    budget: int | None = None
    epochs: int = 2
    seed: int = 0
    limit: int | None = None
    began_from: str | None = None


class HostSettings(Struct, frozen=True):
    """How trainings are started on a host.

    Attributes:
        python: interpreter to query the host with; also trains unless `kdtui host setup` has made an environment.
        launcher: a process of its own, or a Slurm job.
        processes: processes of one training, one per GPU.
        partition, time, gpus, nodes: options of Slurm; None for its defaults.
        options: further options of sbatch.
        commands: lines of sh to run before the training, such as `module load cuda`.
    """

    python: str = "python3"
    launcher: Literal["direct", "slurm"] = "direct"
    processes: int = 1
    partition: str | None = None
    time: str | None = None
    gpus: int | None = None
    nodes: int = 1
    options: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
