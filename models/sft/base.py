"""The model that is trained, in full precision, and its vocabulary."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.vocabulary import Token


@dataclass(frozen=True, slots=True)
class Base:
    """A model of transformers, and its vocabulary."""

    model: Any
    vocabulary: "HubVocabulary"

    @property
    def context(self) -> int:
        """Tokens that it reads at most; the largest number where its configuration does not say."""
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(most) if most else sys.maxsize


def load_base(base: str) -> Base:
    """Load a folder of transformers, a GGUF file (de-quantized), or a model of the hub; safetensors only, no code.

    Raises:
        ModelError: it is not there, or cannot be loaded.
    """
    with _explained(base), _parsed_once() if _is_gguf(base) else nullcontext():
        vocabulary = load_vocabulary(base)
        # Imported here: seconds.
        import torch
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(
            **_where(base), dtype=torch.float32, trust_remote_code=False, use_safetensors=True
        )
    return Base(model, vocabulary)


def load_vocabulary(base: str) -> "HubVocabulary":
    """The vocabulary of such a base, without its weights.

    Raises:
        ModelError: it is not there, or cannot be loaded.
    """
    with _explained(base):
        from transformers import AutoTokenizer

        return HubVocabulary(AutoTokenizer.from_pretrained(**_where(base), trust_remote_code=False), base)


def _where(base: str) -> dict[str, str]:
    path = Path(base)
    if _is_gguf(base):
        return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    if not path.exists() and len(path.parts) != 2:
        raise ModelError(f"{base}: there is no such folder or GGUF file, and ids on the hub are two names")
    return {"pretrained_model_name_or_path": base}


def _is_gguf(base: str) -> bool:
    return base.endswith(".gguf")


@contextmanager
def _explained(base: str) -> Iterator[None]:
    """One sentence for whatever transformers finds wrong."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing(error) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{base}: transformers cannot load this base ({text})") from error


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Have a GGUF file parsed once, and its table of names made once.

    transformers parses it for the configuration of the tokenizer, for that of the model, and for the weights, and makes
    the table for each module of the model: two thirds of the half minute that it takes to load the embedded student.
    """
    import gguf

    really = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, function in really.items():
        setattr(gguf, name, cache(function))
    try:
        yield
    finally:
        # What was parsed is large, and the file may be another one next time.
        for name, function in really.items():
            setattr(gguf, name, function)


def missing(error: ImportError) -> ModelError:
    """What to do where a package of the trainer is not there: on this machine, or on a host."""
    advice = "install it with: pip install 'kdtui[sft]' (on a host: kdtui host setup NAME)"
    return ModelError(f"{error.name or error} is missing; {advice}")


class HubVocabulary:
    """A tokenizer of transformers, as models.vocabulary wants it: text from outside stays text."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer = tokenizer
        self.name = name
        # SentencePiece puts a space before a text; behind this one it cannot.
        spaced = (tokenizer.convert_ids_to_tokens(self._raw("a", special=False)) or [""])[0].startswith("▁")
        self._before = self._raw("\n", special=False) if spaced else []

    def chat_template(self) -> str | None:
        """The template of the tokenizer; of several, the usual one."""
        found = self._tokenizer.chat_template
        template: str | None = found.get("default") if isinstance(found, dict) else found
        return template

    def tokenize(self, text: str, *, special: bool = False, start: bool = False) -> list[Token]:
        """Tokens of a text."""
        if self._before and not start:
            return self._raw("\n" + text, special=special)[len(self._before) :]
        tokens = self._raw(text, special=special)
        opening = self._tokenizer.bos_token_id if start and self._opens else None
        return tokens if opening is None else [opening, *tokens]

    @property
    def _opens(self) -> bool:
        """Whether a sequence begins with a token of its own."""
        return bool(self._tokenizer("a").input_ids[:1] == [self._tokenizer.bos_token_id])

    def _raw(self, text: str, *, special: bool) -> list[Token]:
        found: list[Token] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=not special).input_ids
        return found

    def end_of_turn(self) -> Token:
        """The token that ends an answer, as far as the vocabulary itself tells; -1 where it does not."""
        token = self._tokenizer.eos_token_id
        return -1 if token is None else int(token)

    def is_control(self, token: Token) -> bool:
        """Whether a token stands for no text."""
        added = self._tokenizer.added_tokens_decoder.get(token)
        return token in self._tokenizer.all_special_ids or (added is not None and bool(added.special))

    def text(self, tokens: Sequence[Token]) -> str:
        """What tokens say, without control tokens."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    def token_text(self, token: Token) -> str:
        """How a control token is written."""
        return str(self._tokenizer.convert_ids_to_tokens(token)) if token >= 0 else ""
