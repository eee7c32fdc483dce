"""A merged adapter has the logits of the sum of its parts, in PEFT and in llama.cpp."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel

from models.adapters.base_shape import BaseShape, base_shape
from models.adapters.conversion import convert
from models.adapters.deltas import Delta, gguf_deltas, peft_deltas
from models.adapters.folder import write_adapter
from models.adapters.merging import reduce_rank, weighted_sum
from models.errors import ModelError
from tests.support.logits import LINEAR, full_precision, llama_logits, peft_logits, some_tokens, train_by_chance
from tests.support.tiny import make_model

Logits = npt.NDArray[np.float32]

PLAIN: dict[str, Any] = {"r": 4, "lora_alpha": 6}
RANK_STABILIZED: dict[str, Any] = {"r": 9, "lora_alpha": 5, "use_rslora": True}
ATTENTION: dict[str, Any] = {"r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj"]}
PATTERNS: dict[str, Any] = {"r": 3, "rank_pattern": {"k_proj": 7}, "alpha_pattern": {"up_proj": 9}}
ONE_LAYER: dict[str, Any] = {"r": 5, "layers_to_transform": [1], "target_modules": ["v_proj", "down_proj"]}


class Trained:
    """A tiny base, adapters for it, and the base with their weighted deltas added to its weights."""

    def __init__(self, folder: Path, architecture: str = "llama") -> None:
        self.base = make_model(folder / "base.gguf", architecture=architecture)
        self.folder = folder
        self.shape = base_shape(self.base)
        self.tokens = some_tokens(full_precision(self.base).config.vocab_size)
        self.weights = full_precision(self.base)

    def adapter(self, name: str, weight: float, seed: int, **settings: Any) -> tuple[str, dict[str, Delta], float]:
        adapted = train_by_chance(full_precision(self.base), seed, **settings)
        adapted.save_pretrained(self.folder / name)
        # With PEFT's own deltas, layer by layer.
        for module, layer in adapted.get_base_model().named_modules():
            if hasattr(layer, "get_delta_weight"):
                target = self.weights.get_submodule(module)
                target.weight.data += weight * layer.get_delta_weight("default").detach()
        return name, peft_deltas(self.folder / name), weight

    @property
    def expected(self) -> Logits:
        return peft_logits(self.weights, self.tokens)

    def logits_with(self, deltas: dict[str, Delta]) -> Logits:
        """Return PEFT's logits with these deltas as an adapter."""
        folder = self.folder / "merged"
        folder.mkdir(exist_ok=True)
        write_adapter(folder, deltas, self.shape, "base")
        return peft_logits(PeftModel.from_pretrained(full_precision(self.base), str(folder)).eval(), self.tokens)

    def llama_logits_of_merged(self) -> Logits:
        """Return llama.cpp's logits with the same adapter."""
        convert(self.folder / "merged", self.base, self.folder / "merged.gguf")
        return llama_logits(self.base, self.folder / "merged.gguf", self.tokens)


@pytest.mark.parametrize(
    "parts",
    [
        [(PLAIN, 1.0), (PLAIN, 1.0)],
        [(PLAIN, 0.7), (RANK_STABILIZED, -0.4)],
        [(ATTENTION, 1.5), (RANK_STABILIZED, 0.5), (PATTERNS, 0.25)],
        [(ONE_LAYER, 1.0), (ATTENTION, 1.0)],
        [(RANK_STABILIZED, 1.0)],
    ],
    ids=["plain", "rank-stabilized", "three ranks and patterns", "modules of one layer", "one alone"],
)
def test_the_merged_adapter_adds_the_sum_of_its_parts(
    tmp_path: Path, parts: Sequence[tuple[dict[str, Any], float]]
) -> None:
    trained = Trained(tmp_path)
    adapters = [trained.adapter(f"a{seed}", weight, seed, **how) for seed, (how, weight) in enumerate(parts)]
    plain = peft_logits(full_precision(trained.base), trained.tokens)
    there = trained.logits_with(weighted_sum(adapters))
    assert np.abs(there - trained.expected).max() < 1e-3
    assert np.abs(there - plain).max() > 0.1, "the adapters do something"
    assert np.abs(there - trained.llama_logits_of_merged()).max() < 1e-3


def test_a_single_rank_stabilized_adapter_is_unchanged(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    adapter = trained.adapter("a", 1.0, 3, **RANK_STABILIZED)
    own = PeftModel.from_pretrained(full_precision(trained.base), str(tmp_path / "a")).eval()
    merged = trained.logits_with(weighted_sum([adapter]))
    assert np.abs(merged - peft_logits(own, trained.tokens)).max() < 1e-3


@pytest.mark.parametrize("architecture", ["qwen2", "gemma3"])
def test_adapters_of_other_architectures_are_merged_too(tmp_path: Path, architecture: str) -> None:
    trained = Trained(tmp_path, architecture)
    adapters = [trained.adapter("a", 0.5, 1, **PLAIN), trained.adapter("b", 2.0, 2, **ATTENTION)]
    assert np.abs(trained.logits_with(weighted_sum(adapters)) - trained.expected).max() < 1e-3
    if architecture == "gemma3":
        # llama.cpp's default; see the tests of the conversion.
        for layer in trained.weights.model.layers:
            layer.self_attn.scaling = layer.self_attn.head_dim**-0.5
    assert np.abs(trained.expected - trained.llama_logits_of_merged()).max() < 3e-3


def test_a_full_rank_loses_nothing_and_a_smaller_one_what_it_reports(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    adapters = [trained.adapter("a", 1.0, 1, **PLAIN), trained.adapter("b", 1.0, 2, **RANK_STABILIZED)]
    whole = weighted_sum(adapters)
    same, kept = reduce_rank(whole, 13)
    assert kept == pytest.approx(1, abs=1e-12)
    assert np.abs(trained.logits_with(same) - trained.expected).max() < 1e-3
    fewer, kept = reduce_rank(whole, 6)
    assert {delta.rank for delta in fewer.values()} == {6}
    dense = {module: delta.b @ delta.a for module, delta in whole.items()}
    total = sum(float((each.astype(np.float64) ** 2).sum()) for each in dense.values())
    lost = sum(float(((dense[module] - delta.b @ delta.a) ** 2).sum()) for module, delta in fewer.items())
    assert kept == pytest.approx(1 - lost / total, abs=1e-5)
    best = sum(float((np.linalg.svd(each, compute_uv=False)[:6] ** 2).sum()) for each in dense.values())
    assert kept == pytest.approx(best / total, abs=1e-5)


def by_chance(chance: np.random.Generator, rank: int, modules: Sequence[str]) -> dict[str, Delta]:
    return {
        module: Delta(
            chance.normal(size=(rank, 8)).astype(np.float32),
            chance.normal(size=(6, rank)).astype(np.float32),
            float(chance.uniform(0.1, 3)),
        )
        for module in modules
    }


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(-4, -0.01), st.floats(0.01, 4)),
            st.integers(1, 9),
            st.sets(st.sampled_from("abc"), min_size=1),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 12),
    st.integers(0, 9),
)
def test_sums_of_any_weights_ranks_and_modules_are_exact(
    parts: list[tuple[float, int, set[str]]], rank: int, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    adapters = [(str(number), by_chance(chance, r, sorted(m)), w) for number, (w, r, m) in enumerate(parts)]
    found = weighted_sum(adapters)
    assert set(found) == set().union(*(modules for *_, modules in parts))
    smaller, kept = reduce_rank(found, rank)
    assert 0 < kept <= 1 + 1e-9
    for module, delta in found.items():
        expected = sum(
            w * d[module].scale * d[module].b.astype(float) @ d[module].a for _, d, w in adapters if module in d
        )
        assert delta.scale * delta.b @ delta.a == pytest.approx(expected, abs=1e-3)
        assert delta.rank == sum(d[module].rank for _, d, _ in adapters if module in d)
        if rank >= min(6, delta.rank):
            assert smaller[module].b @ smaller[module].a == pytest.approx(expected, abs=1e-3)


def test_adapters_that_cancel_each_other_out_cannot_be_reduced() -> None:
    deltas = by_chance(np.random.default_rng(0), 2, ["q"])
    whole = weighted_sum([("a", deltas, 0.0)])
    with pytest.raises(ModelError, match="cancel each other out"):
        reduce_rank(whole, 1)


def test_weights_of_another_size_or_overflow_give_one_sentence() -> None:
    small, chance = by_chance(np.random.default_rng(0), 2, ["q"]), np.random.default_rng(1)
    wide = {"q": Delta(chance.normal(size=(2, 9)).astype(np.float32), small["q"].b, 1.0)}
    with pytest.raises(ModelError, match="a and b cannot be merged: they change q, which is 6 x 8 in one, and 6 x 9"):
        weighted_sum([("a", small, 1.0), ("b", wide, 1.0)])
    for spoiled in (np.inf, np.nan, 3e38):
        broken = {"q": Delta(small["q"].a, np.full((6, 2), spoiled, np.float32), 2.0)}
        with pytest.raises(ModelError, match="what they add to q is not a number"):
            weighted_sum([("a", broken, 1.0)])


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3"])
def test_a_gguf_adapter_converts_back_to_the_same_peft_adapter(tmp_path: Path, architecture: str) -> None:
    base = make_model(tmp_path / "base.gguf", architecture=architecture)
    train_by_chance(full_precision(base), **PATTERNS, target_modules=LINEAR).save_pretrained(tmp_path / "adapter")
    convert(tmp_path / "adapter", base, tmp_path / "adapter.gguf")
    there, here = peft_deltas(tmp_path / "adapter"), gguf_deltas(tmp_path / "adapter.gguf", base_shape(base))
    assert there.keys() == here.keys()
    for module, delta in there.items():
        again = here[module]
        assert again.scale * again.b @ again.a == pytest.approx(delta.scale * delta.b @ delta.a, abs=1e-5)


def test_a_gguf_adapter_of_another_architecture_gives_one_sentence(tmp_path: Path) -> None:
    base = make_model(tmp_path / "base.gguf")
    train_by_chance(full_precision(base)).save_pretrained(tmp_path / "adapter")
    convert(tmp_path / "adapter", base, tmp_path / "adapter.gguf")
    with pytest.raises(ModelError, match="it is for the architecture llama, not qwen2"):
        gguf_deltas(tmp_path / "adapter.gguf", BaseShape("qwen2", 2, 4, 2))
    with pytest.raises(ModelError, match="which has no place in a PEFT adapter"):
        gguf_deltas(tmp_path / "adapter.gguf", BaseShape("llama", 1, 4, 2))
