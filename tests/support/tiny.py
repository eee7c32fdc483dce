"""Makes random models of a few thousand weights: real GGUF files with vocabularies of four kinds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from gguf import GGUFWriter, TokenType

from models.adapters.conversion import MANIFEST_KEY
from models.files.file_cache import compute_cached
from models.llama.first_load import Use, memory

Vocabulary = Literal["single digits", "groups of digits", "sentencepiece", "gemma"]

WIDTH, LAYERS, HEADS = 64, 2, 4
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
_END = "<|im_end|>"
_WORDS = ["camp", "ing", "phone", "kit", "for", "week", "end"]


def make_model(
    path: Path,
    vocabulary: Vocabulary = "single digits",
    *,
    seed: int = 0,
    width: int = WIDTH,
    template: str | None = TEMPLATE,
    architecture: str = "llama",
    norm: float = 1.0,
    context: int = 4096,
    remember: bool = True,
) -> Path:
    """Write a model with random weights to `path`.

    Args:
        remember: as `remember_model` does.
    """
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_key_length(width // HEADS)
    writer.add_value_length(width // HEADS)
    if architecture == "gemma3":
        writer.add_sliding_window(512)
    writer.add_layer_norm_rms_eps(1e-5)
    size = (
        _sentencepiece(writer, vocabulary) if vocabulary in ("sentencepiece", "gemma") else _bytes(writer, vocabulary)
    )
    if template is not None:
        writer.add_chat_template(template)
    random = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> None:
        # Larger than after any training, so that the choices differ.
        values = random.normal(0, 1.5 / shape[-1] ** 0.5, shape) if len(shape) > 1 else np.full(shape, norm)
        writer.add_tensor(name, values.astype(np.float32))

    key_width = width // 2
    weights("token_embd.weight", size, width)
    weights("output_norm.weight", width)
    if architecture != "gemma3":
        weights("output.weight", size, width)
    for layer in range(LAYERS):
        weights(f"blk.{layer}.attn_norm.weight", width)
        weights(f"blk.{layer}.attn_q.weight", width, width)
        weights(f"blk.{layer}.attn_k.weight", key_width, width)
        weights(f"blk.{layer}.attn_v.weight", key_width, width)
        weights(f"blk.{layer}.attn_output.weight", width, width)
        if architecture == "qwen2":
            for name, rows in (("q", width), ("k", key_width), ("v", key_width)):
                weights(f"blk.{layer}.attn_{name}.bias", rows)
        if architecture in ("qwen3", "gemma3"):
            weights(f"blk.{layer}.attn_q_norm.weight", width // HEADS)
            weights(f"blk.{layer}.attn_k_norm.weight", width // HEADS)
        if architecture == "gemma3":
            weights(f"blk.{layer}.post_attention_norm.weight", width)
            weights(f"blk.{layer}.post_ffw_norm.weight", width)
        weights(f"blk.{layer}.ffn_norm.weight", width)
        weights(f"blk.{layer}.ffn_gate.weight", 2 * width, width)
        weights(f"blk.{layer}.ffn_up.weight", 2 * width, width)
        weights(f"blk.{layer}.ffn_down.weight", width, 2 * width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if remember:
        remember_model(path)
    return path


def remember_model(path: Path) -> None:
    """Remember that a model can be loaded: another process would take longer to load it than most tests take."""
    for use in get_args(Use):
        compute_cached(path, lambda _: "loaded", memory(use))


def make_adapter(
    path: Path, *, seed: int = 1, width: int = WIDTH, rank: int = 2, manifest: Mapping[str, object] | None = None
) -> Path:
    """Write a LoRA adapter with random weights, for models of `make_model` with that width."""
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    if manifest is not None:
        writer.add_string(MANIFEST_KEY, json.dumps(manifest))
    random = np.random.default_rng(seed)
    for layer in range(LAYERS):
        name = f"blk.{layer}.ffn_up.weight"
        writer.add_tensor(f"{name}.lora_a", random.normal(0, 0.5, (rank, width)).astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", random.normal(0, 0.5, (2 * width, rank)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _bytes(writer: GGUFWriter, vocabulary: Vocabulary) -> int:
    """Add a byte-level BPE vocabulary; its second kind has tokens for the numbers up to 999, as Llama 3."""
    letters = [chr(code) for code in _printable_bytes()]
    merges: list[str] = []
    tokens = list(letters)

    def merge(word: str) -> None:
        for length in range(2, len(word) + 1):
            if word[:length] not in tokens:
                merges.append(f"{word[: length - 1]} {word[length - 1]}")
                tokens.append(word[:length])

    if vocabulary == "groups of digits":
        for number in range(10, 1000):
            merge(str(number))
    for word in _WORDS:
        merge(word)
        merge("Ġ" + word)
    special = ["<|endoftext|>", "<|im_start|>", _END]
    tokens += special
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm" if vocabulary == "single digits" else "llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index(_END))
    writer.add_add_bos_token(False)
    return len(tokens)


def _sentencepiece(writer: GGUFWriter, vocabulary: Vocabulary) -> int:
    """Add a SentencePiece vocabulary with bytes for characters without a piece, as Llama 2.

    That of Gemma puts no space before a text, and has pieces for several newlines.
    """
    # Words are merged from left to right, so that their beginnings are pieces too.
    words = [word[:length] for word in _WORDS for length in range(2, len(word) + 1)]
    pieces = list(dict.fromkeys([*"0123456789,:.-abcdefghijklmnopqrstuvwxyzPé", "▁", *words]))
    pieces += ["▁" + word for word in _WORDS]
    if vocabulary == "gemma":
        pieces += ["\n", "\n\n"]
        writer.add_add_space_prefix(False)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    types += [TokenType.BYTE] * 256 + [TokenType.NORMAL] * len(pieces)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    # Longer pieces are preferred.
    scores = [float(len(token)) if kind == TokenType.NORMAL else 0.0 for token, kind in zip(tokens, types, strict=True)]
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    return len(tokens)


def _printable_bytes() -> list[int]:
    """Return the characters that stand for the 256 bytes in byte-level BPE (GPT-2)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*plain, *(256 + number for number in range(256 - len(plain)))]
