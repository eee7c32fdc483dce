"""The model that is trained, in full precision, and its vocabulary."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.files.gguf_vectors import gguf_layout
from models.vocabulary import Token, tokens_without_space


@dataclass(frozen=True, slots=True)
class Base:
    """A model of transformers and its vocabulary."""

    model: Any
    vocabulary: "HubVocabulary"

    @property
    def context(self) -> int:
        """Its longest input in tokens; the largest integer if its configuration does not tell."""
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(most) if most else sys.maxsize


def load_base(base: str) -> Base:
    """Load a folder of transformers, a GGUF file (de-quantized), or a model of the hub; safetensors only, no code.

    Raises:
        ModelError: it is missing, or cannot be loaded.
    """
    with _explained(base), _parsed_once() if _is_gguf(base) else nullcontext():
        vocabulary = load_vocabulary(base)
        # Imported here: it takes seconds.
        import torch
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(
            **_where(base), dtype=torch.float32, trust_remote_code=False, use_safetensors=True
        )
    return Base(model, vocabulary)


def load_vocabulary(base: str) -> "HubVocabulary":
    """Load the vocabulary of a base without its weights.

    Raises:
        ModelError: it is missing, or cannot be loaded.
    """
    with _explained(base):
        from transformers import AutoTokenizer

        return HubVocabulary(AutoTokenizer.from_pretrained(**_where(base), trust_remote_code=False), base)


def _where(base: str) -> dict[str, str]:
    """Return the arguments of transformers for a base.

    Raises:
        ModelError: there is no such base, or its file claims more than it holds.
    """
    path = Path(base)
    if _is_gguf(base):
        if path.is_file():
            # The package gguf trusts whatever counts a file claims.
            gguf_layout(path, "model")
        return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    if not path.exists() and len(path.parts) != 2:
        raise ModelError(f"{base}: there is no such folder or GGUF file; an id on the hub has the form OWNER/NAME")
    return {"pretrained_model_name_or_path": base}


def _is_gguf(base: str) -> bool:
    return base.endswith(".gguf")


@contextmanager
def _explained(base: str) -> Iterator[None]:
    """Turn the errors of transformers into one sentence."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{base}: transformers cannot load this base ({text})") from error


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Parse a GGUF file only once, and make its table of names only once.

    transformers parses the file for the configuration of the tokenizer, for that of the model, and for the weights. It
    makes the table for each module of the model. That is two thirds of the half minute that loading the embedded
    student takes.
    """
    import gguf

    originals = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, function in originals.items():
        setattr(gguf, name, cache(function))
    try:
        yield
    finally:
        # The parsed file is large, and the next one can be another file.
        for name, function in originals.items():
            setattr(gguf, name, function)


def missing_package(error: ImportError) -> ModelError:
    """Return the error for a missing package of the trainer, on this machine or on a host."""
    advice = "install it with: pip install 'kdtui[sft]' (on a host: kdtui host setup NAME)"
    return ModelError(f"{error.name or error} is missing; {advice}")


class HubVocabulary:
    """A tokenizer of transformers with the interface of `models.vocabulary`: text from outside stays text."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer = tokenizer
        self.name = name
        is_spaced = (tokenizer.convert_ids_to_tokens(self._raw("a", special=False)) or [""])[0].startswith("▁")
        self._newline = self._raw("\n", special=False) if is_spaced else []

    def chat_template(self) -> str | None:
        """Return the template of the tokenizer; of several, the default one."""
        templates = self._tokenizer.chat_template
        template: str | None = templates.get("default") if isinstance(templates, dict) else templates
        return template

    def tokenize(self, text: str, *, special: bool = False, start: bool = False) -> list[Token]:
        """Return the tokens of a text, as `Vocabulary.tokenize` does."""
        if self._newline and not start:
            return tokens_without_space(partial(self._raw, special=special), self._newline, text)
        tokens = self._raw(text, special=special)
        opening = self._tokenizer.bos_token_id if start and self._opens else None
        return tokens if opening is None else [opening, *tokens]

    @property
    def _opens(self) -> bool:
        """Whether a sequence begins with a special token."""
        return bool(self._tokenizer("a").input_ids[:1] == [self._tokenizer.bos_token_id])

    def _raw(self, text: str, *, special: bool) -> list[Token]:
        tokens: list[Token] = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=not special
        ).input_ids
        return tokens

    def end_of_turn(self) -> Token:
        """Return the token that ends an answer; -1 if the vocabulary has none."""
        token = self._tokenizer.eos_token_id
        return -1 if token is None else int(token)

    def is_control(self, token: Token) -> bool:
        """Tell whether a token stands for no text."""
        added = self._tokenizer.added_tokens_decoder.get(token)
        return token in self._tokenizer.all_special_ids or (added is not None and bool(added.special))

    def text(self, tokens: Sequence[Token]) -> str:
        """Return the text of tokens, without control tokens."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    def token_text(self, token: Token) -> str:
        """Return how a control token is written."""
        return str(self._tokenizer.convert_ids_to_tokens(token)) if token >= 0 else ""
