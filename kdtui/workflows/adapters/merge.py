"""Merge several adapters of one base into one, which is used by its own name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtui.errors import KdtuiError
from kdtui.workflows.adapters.check_merge import check_merge, merged_name
from kdtui.workflows.adapters.local_adapters import LocalAdapter, bare_name, base_config_of, local_adapter, public_base
from kdtui.workflows.adapters.new_adapter import free_adapter_name, new_adapter
from kdtui.workflows.manage_models import is_repository
from kdtui.workflows.student.manifest import training_of
from models.adapters.conversion import convert
from models.adapters.deltas import largest_rank
from models.adapters.peft_settings import BASE_CONFIG, CONFIG, MANIFEST, WEIGHTS
from models.adapters.provenance import ABOUT_BASE, names_base
from models.files.hashing import file_sha256
from models.files.json_files import read_object
from store.models import named_model

if TYPE_CHECKING:
    from store.models import NamedModel
    from store.sqlite import Database

_ASKED = ("form", "target", "knowledge", "neighbours", "budget")
"""Training settings that determine how a student is asked."""

_DIFFERS = {
    "norms_sha256": "trained on other weights",
    "chat_template_sha256": "trained with another chat template",
    "end_of_answer": "trained to end answers otherwise",
}


@dataclass(frozen=True, slots=True)
class Merged:
    """An adapter that was merged from others.

    Attributes:
        rank: of all its matrices.
        ranks: of the merged adapters.
        kept: share of the squared norm of the whole sum; None if the rank was not reduced.
        notes: what the user should know about it, each a sentence without a full stop.
    """

    model: "NamedModel"
    rank: int
    ranks: tuple[int, ...]
    kept: float | None
    notes: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """What was made, as a sentence without a full stop."""
        if self.kept is None:
            ranks = " + ".join(map(str, self.ranks))
            how = f" ({ranks}), which is their exact sum" if len(self.ranks) > 1 else ""
        else:
            how = f" and keeps {self.kept:.2%} of the squared norm of the sum"
        return f"{self.model.name} has rank {self.rank}{how}; use it with: --adapter {self.model.name}"


def merge_adapters(
    db: "Database", adapters: Sequence[tuple[str, float]], name: str | None, folder: Path, *, rank: int | None = None
) -> Merged:
    """Merge the weighted sum of several adapters into one, and name it.

    Args:
        adapters: names or GGUF files, each with its weight.
        folder: of the models that the program makes.
        rank: of the result; None for the exact sum, whose rank is the sum of the ranks.

    Raises:
        KdtuiError: there is no such adapter, they are for different bases, or the name cannot be used.
        ModelError: a file cannot be read or written, or an adapter is not a plain LoRA.
    """
    # Imported here: listing models does not need them.
    from models.adapters.folder import write_adapter, write_json
    from models.adapters.merging import reduce_rank, weighted_sum

    check_merge(adapters, rank)
    name = free_adapter_name(db, name or merged_name(adapters), folder)
    sources = [(local_adapter(db, adapter), weight) for adapter, weight in adapters]
    _check_one_base([source for source, _ in sources])
    deltas = [source.deltas() for source, _ in sources]
    whole = weighted_sum([(source.name, each, weight) for each, (source, weight) in zip(deltas, sources, strict=True)])
    ranks = tuple(max(delta.rank for delta in each.values()) for each in deltas)
    made, kept = whole, None
    if rank is not None and rank < max(delta.rank for delta in whole.values()):
        made, kept = reduce_rank(whole, rank)
    most = largest_rank(whole)
    if max(delta.rank for delta in made.values()) > most:
        raise KdtuiError(
            f"the ranks add up to {sum(ranks):,}, and no changed weight has a side of more than {most:,}; "
            f"reduce the sum with --rank {most} or less"
        )
    first = sources[0][0]
    known = next((source for source, _ in sources if source.shape is not None), first)
    shape = known.known_shape()
    config = {} if first.folder is None else read_object(first.folder / CONFIG)
    made_rank = max(delta.rank for delta in made.values())
    manifest = {"name": name, **_manifest(sources, ranks), "rank": made_rank, "kept": kept}
    parts = " + ".join(source.name if weight == 1 else f"{source.name} x {weight:g}" for source, weight in sources)
    with new_adapter(db, name, folder, f"merged: {parts}") as part:
        write_adapter(part, made, shape, public_base(db, manifest, config))
        write_json(part / BASE_CONFIG, base_config_of(known))
        write_json(part / MANIFEST, manifest)
        convert(part, part, part / f"{name}.gguf")
    return Merged(named_model(db, name), made_rank, ranks, kept, tuple(_notes([source for source, _ in sources])))


def _check_one_base(sources: Sequence[LocalAdapter]) -> None:
    """Refuse two adapters for different bases, as far as they say what they were trained on."""
    for one, other in combinations(sources, 2):
        reason = None
        if one.info.architecture != other.info.architecture or (
            one.shape is not None and other.shape is not None and one.shape != other.shape
        ):
            reason = "for a base of another shape"
        elif names_base(one.manifest) and names_base(other.manifest):
            reason = next((why for key, why in _DIFFERS.items() if _differ(key, one.manifest, other.manifest)), None)
        if reason is not None:
            bases = " and ".join(bare_name(str(each.manifest.get("base", "unknown"))) for each in (one, other))
            raise KdtuiError(
                f"{one.name} and {other.name} cannot be merged: {other.name} was {reason} (their bases: {bases})"
            )


def _differ(key: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two manifests contradict each other. The weights of a base that was not local are unknown."""
    if key == "norms_sha256" and None in (one.get(key), other.get(key)):
        named = [str(each.get("base")) for each in (one, other)]
        return all(map(is_repository, named)) and named[0] != named[1]
    return one.get(key) != other.get(key)


def _manifest(sources: Sequence[tuple[LocalAdapter, float]], ranks: Sequence[int]) -> dict[str, Any]:
    """Describe the sum: its base, the merged adapters, and how a student with it is asked."""
    manifests = [source.manifest for source, _ in sources]
    telling = next((each for each in manifests if names_base(each)), manifests[0])
    merged = {}
    for number, ((source, weight), rank) in enumerate(zip(sources, ranks, strict=True), start=1):
        # Two files can have the same name.
        key = source.name if source.name not in merged else f"{source.name} ({number})"
        weights = source.gguf if source.folder is None else source.folder / WEIGHTS
        trained = {name: value for name, value in source.manifest.items() if name not in (*ABOUT_BASE, "versions")}
        if isinstance(trained.get("merged"), Mapping):
            # In a line: repeated merges would be nested ever more deeply.
            trained["merged"] = " + ".join(map(str, trained["merged"]))
        merged[key] = {"weight": weight, "rank": rank, "sha256": file_sha256(weights), "trained": trained}
    # An adapter from elsewhere names its training data itself, which need not be a dataset in this store.
    data = [each["data"] for each in manifests if isinstance(each.get("data"), Mapping)]
    return {
        **_asked(manifests),
        **({"data": {name: about for each in data for name, about in each.items()}} if data else {}),
        "base": telling.get("base"),
        **{name: telling[name] for name in ABOUT_BASE if name in telling},
        "merged": merged,
        "versions": {"kdtui": version("kdtui")},
    }


def _asked(manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how a student is asked with all of these adapters; empty if they were trained in different ways."""
    trained = [training_of(each) for each in manifests]
    known = [each for each in trained if each is not None]
    if len(known) < len(trained) or len({tuple(getattr(each, name) for name in _ASKED) for each in known}) != 1:
        return {}
    samples = {each.sample for each in known}
    return {
        "datasets": list(dict.fromkeys(dataset for each in known for dataset in each.datasets)),
        **{name: getattr(known[0], name) for name in _ASKED},
        "sample": samples.pop() if len(samples) == 1 else None,
    }


def _notes(sources: Sequence[LocalAdapter]) -> Iterator[str]:
    for source in sources:
        if not names_base(source.manifest):
            yield f"{source.name} does not say what it was trained on; only its shape was compared"
    if not _asked([source.manifest for source in sources]):
        yield (
            "the adapters were not all trained to be asked in the same way; say how to ask with --strategy and "
            "--knowledge"
        )
