"""Converts a sentence encoder of transformers (BERT with mean pooling) to a GGUF file for llama.cpp.

    python -m models.files.encoder_file FOLDER TARGET [--to Q8_0]

FOLDER holds config.json, vocab.txt and model.safetensors, as sentence-transformers saves them. The same folder gives
the same file, byte for byte. llama.cpp's own converter is not in the wheel of gguf.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from models.errors import ModelError

KINDS = {
    "F32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "Q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "Q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
"""The quantizations of the matrices."""

SOURCE_KEY = "general.source.sha256"
"""The key of the GGUF file for the hash of the source weights."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_WORD_START = "\u2581"
"""What llama.cpp writes before a token that begins a word; BERT marks the other tokens, with ##."""

_UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
"""Weights that the mean of the tokens does not need."""

_NOT_QUANTIZED = ("position_embd.weight", "token_types.weight")
"""Matrices whose rows llama.cpp adds; it needs them unquantized."""


def convert_encoder(folder: Path, target: Path, kind: str = "Q8_0") -> None:
    """Write the encoder of a folder to a GGUF file.

    Args:
        kind: one of KINDS.

    Raises:
        ModelError: the folder holds no such encoder, or one that llama.cpp would compute differently.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        vocabulary = (folder / "vocab.txt").read_text("utf-8").splitlines()
        weights = load_file(folder / "model.safetensors")
        source = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{folder}: no sentence encoder can be read from here ({error})") from error
    _check(folder, config, vocabulary)
    bits, file_type = KINDS[kind]
    writer = gguf.GGUFWriter(target, "bert")
    writer.add_name(target.stem)
    writer.add_license("apache-2.0")
    writer.add_string(SOURCE_KEY, source)
    writer.add_file_type(file_type)
    _describe(writer, config)
    _add_vocabulary(writer, vocabulary)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, values in sorted(weights.items()):
        name = name.removeprefix("bert.")
        if name in _UNUSED:
            continue
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is None:
            raise ModelError(f"{folder}: llama.cpp knows no weights {name!r} of BERT")
        numbers = values.astype(np.float32)
        if kind == "F32" or numbers.ndim != 2 or known in _NOT_QUANTIZED:
            writer.add_tensor(known, numbers)
        else:
            writer.add_tensor(known, gguf.quants.quantize(numbers, bits), raw_dtype=bits)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _check(folder: Path, config: dict[str, Any], vocabulary: list[str]) -> None:
    """Refuse an encoder that llama.cpp computes differently from transformers."""
    tokenizer, pooling = folder / "tokenizer_config.json", folder / "1_Pooling" / "config.json"
    lower = not tokenizer.exists() or json.loads(tokenizer.read_text("utf-8")).get("do_lower_case", True)
    mean = not pooling.exists() or json.loads(pooling.read_text("utf-8")).get("pooling_mode_mean_tokens")
    missing = [token for token in _SPECIAL if token not in vocabulary]
    refused = {
        f"a model of the type {config.get('model_type')!r}": config.get("model_type") != "bert",
        "an activation other than gelu": config.get("hidden_act") != "gelu",
        "relative positions": config.get("position_embedding_type", "absolute") != "absolute",
        "upper case kept in its tokens": not lower,
        "vectors that are not the mean of the tokens": not mean,
        f"a vocabulary without {', '.join(missing)}": bool(missing),
    }
    for what, is_refused in refused.items():
        if is_refused:
            raise ModelError(f"{folder}: an encoder with {what} cannot be converted")


def _describe(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: list[str]) -> None:
    tokens, kinds = [], []
    for token in vocabulary:
        if token in _SPECIAL:
            tokens.append(token)
            kinds.append(gguf.TokenType.CONTROL)
        elif token.startswith("[unused"):
            tokens.append(token)
            kinds.append(gguf.TokenType.UNUSED)
        else:
            tokens.append(token[2:] if token.startswith("##") else _WORD_START + token)
            kinds.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_pad_token_id(vocabulary.index("[PAD]"))
    writer.add_unk_token_id(vocabulary.index("[UNK]"))
    writer.add_bos_token_id(vocabulary.index("[CLS]"))
    writer.add_eos_token_id(vocabulary.index("[SEP]"))
    writer.add_sep_token_id(vocabulary.index("[SEP]"))
    writer.add_mask_token_id(vocabulary.index("[MASK]"))


def main(arguments: list[str] | None = None) -> int:
    """Convert an encoder, print where the file is, and return the exit code."""
    parser = argparse.ArgumentParser(description="Convert a sentence encoder of transformers to GGUF.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("target", type=Path, metavar="TARGET")
    parser.add_argument("--to", choices=sorted(KINDS), default="Q8_0")
    given = parser.parse_args(arguments)
    try:
        convert_encoder(given.folder, given.target, given.to)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    digest = hashlib.sha256(given.target.read_bytes()).hexdigest()
    print(f"wrote {given.target}, {given.target.stat().st_size:,} bytes, sha256 {digest}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
