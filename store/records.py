"""The plain values that the store takes and hands out: items, bundles, sessions, settings.

They are msgspec structs: as light as tuples, and decoded from JSON without a step in between. None can be part of a
cycle, so the garbage collector is told to pass over them (`gc=False`): importing millions of them is twice as fast.
"""

from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

Split: TypeAlias = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

Format: TypeAlias = Literal["pattern", "rule", "thought"]
"""Of knowledge, from the plainest to the richest."""
FORMATS: tuple[Format, ...] = get_args(Format)

Status: TypeAlias = Literal["kept", "rejected"]
STATUSES: tuple[Status, ...] = get_args(Status)

Measure: TypeAlias = Literal["support", "precision", "confidence", "lift"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

KnowledgeSort: TypeAlias = Literal["match", "support", "precision", "confidence", "lift", "newest"]
"""What knowledge can be put in the order of, the greatest first."""
KNOWLEDGE_SORTS: tuple[KnowledgeSort, ...] = get_args(KnowledgeSort)

Name: TypeAlias = Annotated[str, Meta(min_length=1)]
"""An id; decoding refuses an empty one."""

LONGEST_TEXT = 1_000_000
"""Characters of a title or the name of a category; decoding refuses longer ones, which are no such thing."""

Title: TypeAlias = Annotated[str, Meta(max_length=LONGEST_TEXT)]

CategoryPath: TypeAlias = Annotated[tuple[Title, ...], Meta(min_length=1)]
"""Category names from the widest to the narrowest."""


class Item(Struct, frozen=True, gc=False):
    """A product. `title` is None where the source has none; the first category path counts as the main one."""

    id: Name
    title: Title | None = None
    categories: tuple[CategoryPath, ...] = ()


class Bundle(Struct, frozen=True, gc=False):
    """Products of one session that belong together: their positions in it (1-based, ascending), and why."""

    positions: tuple[int, ...]
    intent: str = ""


class Session(Struct, frozen=True, gc=False):
    """The products that a shopper interacted with, in order, and the bundles that people saw in them."""

    id: str
    items: tuple[Item, ...]
    bundles: tuple[Bundle, ...] = ()
    split: Split | None = None


class Bound(Struct, frozen=True):
    """What a measure has to be: above, below or just a number."""

    measure: Measure
    operator: Literal[">", ">=", "<", "<=", "="]
    value: float


class KnowledgeQuery(Struct, frozen=True):
    """Which knowledge is looked for: all of these together; of several formats, datasets and so on, any.

    Attributes:
        words: that a statement has, each whole or as the beginning of a longer one.
        origins: datasets or files that pieces were imported from.
        bounds: of the measures; a piece without the measure is outside of all.
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
    """All that is needed to go on with a run.

    Attributes:
        student: whom to ask.
        knowledge: formats that it is shown.
        limit: how many sessions of the split; None for all.
        seed: by which these are drawn; None where there is no limit, and in runs of earlier versions, which took the
            first sessions as imported.
        context: tokens; None for the usual number.
        strategy: how bundles are got out of the student; None for the one that was best when it was calibrated.
        adapters: LoRA adapters, each a file and how strongly it acts.
        sample: the sample that the knowledge is taken from; None for all that there is.
        neighbours: training sessions whose thoughts are shown; None for the usual number.
        budget: tokens of rules and thoughts for one session; None for the usual number.
        near: the embedding model whose vectors say which training sessions are near; None where their words do.
        prompt_price, answer_price: of a million tokens that an endpoint reads and writes; None where not known.
        domains: whose knowledge of the sample is shown: that of the dataset, or of all that the sample has some of.
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
        datasets: whose training sessions it has.
        form: what the student is asked: to write a list of bundles, about pairs of products, or for the intents of
            bundles that are known.
        knowledge: formats that the prompt shows, or that the student learns to write.
        target: whether the student learns to write the knowledge, instead of being shown it.
        sample: the sample that the knowledge is taken from, and whose sessions are trained on; None for all.
        neighbours, budget: of the knowledge that is shown, as in `RunSettings`.
        epochs: of shuffled products.
        seed: of the shuffling.
        limit: training sessions of each dataset, drawn by chance, of which a larger number holds a smaller one; None
            for all.
        began_from: the adapter that the training began from; None where it began from the base alone.
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
        python: to ask it with, and to train with where `kdtui host setup` has made nothing.
        launcher: a process of its own, or a job of Slurm.
        processes: of one training, one for each GPU.
        partition, time, gpus, nodes: as Slurm has them; None for what it does by itself.
        options: more of sbatch's options.
        commands: lines of sh that come before the training, such as `module load cuda`.
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
