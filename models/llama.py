"""A thin layer over llama.cpp's C interface: a model file, its vocabulary, and one sequence in a context.

llama-cpp-python's high-level class copies every row of logits and applies a grammar to the whole vocabulary; a
student looks at a few tokens only, so it works with the interface below.
"""

import ctypes
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from models.errors import ModelError

Token = int

# From ggml.h; llama-cpp-python does not name it.
_LOG_LEVEL_ERROR = 4

_log_lines: list[str] = []
_backend_lock = threading.Lock()
_backend_ready = False


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _keep_log(level: int, text: bytes, _user_data: Any) -> None:
    """Keep llama.cpp's errors for our own message: written to stderr they would tear up a terminal screen."""
    if level == _LOG_LEVEL_ERROR:
        _log_lines.append(text.decode("utf-8", "replace").strip())
        del _log_lines[:-20]


def _prepare_backend() -> None:
    global _backend_ready
    with _backend_lock:
        if not _backend_ready:
            llama_cpp.llama_log_set(_keep_log, ctypes.c_void_p())
            llama_cpp.llama_backend_init()
            _backend_ready = True


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:
    """Half the processors, for decoding token by token: it waits for memory, and for the slowest thread."""
    return max(1, processors() // 2)


def system_features() -> tuple[list[str], bool]:
    """Processor features that llama.cpp was built to use, and whether it can put layers on a GPU."""
    _prepare_backend()
    info = llama_cpp.llama_print_system_info().decode("utf-8", "replace")
    pairs = (part.rpartition(":")[2].partition("=") for part in info.split("|"))
    features = [name.strip() for name, _, value in pairs if value.strip() == "1"]
    return features, bool(llama_cpp.llama_supports_gpu_offload())


class LlamaModel:
    """The weights and the vocabulary of a GGUF file.

    Raises:
        ModelError: the file is missing, is no GGUF file, or llama.cpp cannot load it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                magic = file.read(4)
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror}; a model is a GGUF file") from error
        if magic != b"GGUF":
            raise ModelError(f"{path}: this is not a GGUF file")
        _prepare_backend()
        _log_lines.clear()
        params = llama_cpp.llama_model_default_params()
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            reason = _log_lines[0] if _log_lines else "llama.cpp gives no reason"
            raise ModelError(f"{path}: llama.cpp cannot load this model ({reason})")
        self.handle = model
        self.vocab = llama_cpp.llama_model_get_vocab(model)
        self.vocab_size: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.context_length: int = llama_cpp.llama_model_n_ctx_train(model)

    def close(self) -> None:
        """Free the weights; nothing may use the model afterwards."""
        if self.handle:
            llama_cpp.llama_model_free(self.handle)
            self.handle = None

    def chat_template(self) -> str | None:
        """The Jinja template that the file carries, if any."""
        template = llama_cpp.llama_model_chat_template(self.handle, None)
        return template.decode("utf-8", "replace") if template else None

    def tokenize(self, text: str, *, special: bool = False, start: bool = False) -> list[Token]:
        """Tokens of a text.

        Args:
            special: read `<|im_start|>` and the like as control tokens; False for any text from outside.
            start: put the tokens that open a sequence in front, where the model has such.
        """
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), tokens, room, start, special)
        return list(tokens[:count])

    def piece(self, token: Token) -> bytes:
        """The bytes that a token stands for; nothing for control tokens."""
        buffer = ctypes.create_string_buffer(512)
        length = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[: max(length, 0)]

    def is_text(self, token: Token) -> bool:
        """Whether a token stands for text (or one byte of it), and is no control, unknown or reserved token."""
        attributes = llama_cpp.llama_vocab_get_attr(self.vocab, token)
        return bool(attributes & (llama_cpp.LLAMA_TOKEN_ATTR_NORMAL | llama_cpp.LLAMA_TOKEN_ATTR_BYTE))

    def end_of_turn(self) -> Token:
        """The token that ends an answer."""
        turn = llama_cpp.llama_vocab_eot(self.vocab)
        return turn if turn >= 0 else int(llama_cpp.llama_vocab_eos(self.vocab))

    def token_text(self, token: Token) -> str:
        """How a control token is written, such as `<|im_end|>`; empty for no token."""
        text = llama_cpp.llama_vocab_get_text(self.vocab, token) if token >= 0 else None
        return text.decode("utf-8", "replace") if text else ""


class LlamaSequence:
    """One growing sequence of tokens in a context of its own. What two sequences share in front is decoded once.

    Raises:
        ModelError: there is no memory for a context of that size.
    """

    def __init__(self, model: LlamaModel, *, context: int, threads: int) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = min(context, 512)
        params.n_threads = threads
        # Reading a prompt is all arithmetic, in pieces large enough for every processor.
        params.n_threads_batch = max(threads, processors())
        handle = llama_cpp.llama_init_from_model(model.handle, params)
        if not handle:
            raise ModelError(f"{model.path}: no memory for a context of {context:,} tokens; use a smaller one")
        self.handle = handle
        self.room = int(llama_cpp.llama_n_ctx(handle))
        self._model = model
        self._memory = llama_cpp.llama_get_memory(handle)
        self._batch_size = int(params.n_batch)
        self._tokens: list[Token] = []

    def close(self) -> None:
        """Free the context."""
        if self.handle:
            llama_cpp.llama_free(self.handle)
            self.handle = None

    def __len__(self) -> int:
        return len(self._tokens)

    def restart(self, tokens: Sequence[Token]) -> None:
        """Begin anew with these tokens, keeping what the last sequence has in common with them."""
        # The last token is always decoded again: its logits are not kept.
        most = min(len(self._tokens), len(tokens) - 1)
        same = next((i for i in range(most) if self._tokens[i] != tokens[i]), most)
        # A recurrent model cannot forget a part of what it has read.
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, same, -1):
            llama_cpp.llama_memory_clear(self._memory, False)
            same = 0
        del self._tokens[same:]
        self.extend(tokens[same:])

    def extend(self, tokens: Sequence[Token]) -> None:
        """Decode these tokens behind the others; `logits` are then those of the last one.

        Raises:
            ModelError: llama.cpp fails, for want of memory or otherwise.
        """
        for first in range(0, len(tokens), self._batch_size):
            part = tokens[first : first + self._batch_size]
            array = (llama_cpp.llama_token * len(part))(*part)
            status = llama_cpp.llama_decode(self.handle, llama_cpp.llama_batch_get_one(array, len(part)))
            if status:
                raise ModelError(f"{self._model.path}: llama.cpp could not decode (status {status})")
            self._tokens.extend(part)

    def logits(self) -> npt.NDArray[np.float32]:
        """Logits over the vocabulary behind the last token: a view that holds until the next token is decoded."""
        row = llama_cpp.llama_get_logits_ith(self.handle, -1)
        return np.ctypeslib.as_array(row, shape=(self._model.vocab_size,))
