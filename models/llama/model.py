"""A thin layer over llama.cpp's C interface: a model file and its vocabulary.

llama-cpp-python's high-level class copies every row of logits, applies a grammar to the whole vocabulary, and holds
one sequence. A student reads a few tokens of many sequences, so it uses the interface below.
"""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from models.embedded import is_shipped
from models.errors import Cancelled, ModelError
from models.files.adapter_file import check_adapter_file
from models.files.gguf_magic import check_magic
from models.llama import cancellation
from models.llama.bindings import llama_cpp
from models.llama.cancellation import Cancellation
from models.llama.first_load import load_elsewhere_first
from models.vocabulary import Token, tokens_without_space

# From ggml.h; llama-cpp-python does not name it.
_LOG_LEVEL_ERROR = 4

_log_lines: list[str] = []
_backend_lock = threading.Lock()
_backend_ready = False


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _keep_log(level: int, text: bytes, _user_data: Any) -> None:
    """Keep llama.cpp's errors for kdtui's own messages: on stderr they would tear up a terminal screen.

    An exception in here, such as an interrupt, would be lost. Whatever can log is therefore called by functions of
    `cancellation`.
    """
    if level == _LOG_LEVEL_ERROR:
        _log_lines.append(text.decode("utf-8", "replace").strip())
        del _log_lines[:-20]


def prepare_backend() -> None:
    """Initialize llama.cpp, once per process, and have it report errors to this module instead of to the terminal."""
    global _backend_ready
    with _backend_lock:
        # Each time anew: the package sets its own callback when it is imported as a whole.
        llama_cpp.llama_log_set(_keep_log, ctypes.c_void_p())
        if not _backend_ready:
            cancellation.call_briefly(llama_cpp.llama_backend_init)
            _backend_ready = True


def forget_errors() -> None:
    """Drop the errors so far, so that `last_error` is about the next call."""
    _log_lines.clear()


def last_error() -> str:
    """Return what llama.cpp said of the last failure."""
    reason = _log_lines[0] if _log_lines else "llama.cpp gives no reason"
    _log_lines.clear()
    return reason


def can_use_gpu() -> bool:
    """Tell whether llama.cpp was built with a back end for a GPU and finds one."""
    prepare_backend()
    return bool(llama_cpp.llama_supports_gpu_offload())


def system_features() -> list[str]:
    """Return the processor features that llama.cpp was built to use."""
    prepare_backend()
    info = llama_cpp.llama_print_system_info().decode("utf-8", "replace")
    pairs = (part.rpartition(":")[2].partition("=") for part in info.split("|"))
    return [name.strip() for name, _, value in pairs if value.strip() == "1"]


# llama.cpp asks whether to stop by calling a C function with a pointer, after each of a thousand steps per batch. A
# function in Python would wait each time for the interpreter lock. `strlen` works too: llama.cpp reads its result as a
# boolean, which is 0 for the empty string and 1 for a string of one character.
_C_LIBRARY = ctypes.CDLL(None if os.name == "posix" else "msvcrt")
_is_cancelled = ctypes.cast(_C_LIBRARY.strlen, llama_cpp.ggml_abort_callback)


@contextmanager
def watched(context: Any, wish: Cancellation) -> Iterator[None]:
    """Have a context of llama.cpp stop as soon as it is cancelled; on a GPU, after the current batch."""
    flag = (ctypes.c_char * len(wish.flag)).from_buffer(wish.flag)
    llama_cpp.llama_set_abort_callback(context, _is_cancelled, ctypes.addressof(flag))
    try:
        yield
    finally:
        llama_cpp.llama_set_abort_callback(context, llama_cpp.ggml_abort_callback(), None)


class LlamaModel:
    """The weights and the vocabulary of a GGUF file.

    Args:
        vocabulary_only: do not load the weights, which take longest.
        trusted: load the file although no other process has loaded it before; see `first_load`.

    Raises:
        Cancelled: the cancellation in force was cancelled.
        ModelError: the file is missing, is no GGUF file, or llama.cpp cannot load it.
    """

    def __init__(self, path: Path, *, vocabulary_only: bool = False, trusted: bool = False) -> None:
        self.path = path
        self._adapters: dict[Path, Any] = {}
        check_magic(path, "a model")
        if not trusted:
            load_elsewhere_first(path, "vocabulary" if vocabulary_only else "text")
        forget_errors()
        prepare_backend()
        params = llama_cpp.llama_model_default_params()
        # All layers on the GPU, where llama.cpp has one.
        params.n_gpu_layers = -1
        params.vocab_only = vocabulary_only
        wish = cancellation.current()
        # Called once per tensor.
        progress = llama_cpp.llama_progress_callback(lambda *_: not wish.is_cancelled)
        params.progress_callback = progress
        model = cancellation.call(wish, llama_cpp.llama_model_load_from_file, str(path).encode(), params)
        if not model and wish.is_cancelled:
            raise Cancelled
        if not model:
            raise ModelError(f"{path}: llama.cpp cannot load this model ({last_error()})")
        self.handle = model
        self.vocab = llama_cpp.llama_model_get_vocab(model)
        self.vocab_size: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.context_length: int = llama_cpp.llama_model_n_ctx_train(model)
        # A recurrent state holds a whole sequence: it can be copied and dropped, but not shortened.
        self.can_forget: bool = not (
            llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model)
        )
        self._piece = ctypes.create_string_buffer(512)
        first = self._raw_tokens("a", special=False, start=False)[:1]
        is_spaced = b"".join(map(self.piece, first)).startswith(b" ")
        self._newline = self._raw_tokens("\n", special=False, start=False) if is_spaced else []

    def adapter(self, path: Path) -> Any:
        """Return the handle of a LoRA adapter, which is loaded once and freed with the model.

        Raises:
            ModelError: the file is missing, is no adapter, or was made for another model.
        """
        if path not in self._adapters:
            check_magic(path, "an adapter")
            if not is_shipped(path):
                check_adapter_file(path, self.path)
            forget_errors()
            load = llama_cpp.llama_adapter_lora_init
            handle = cancellation.call(cancellation.current(), load, self.handle, str(path).encode())
            if not handle:
                raise ModelError(f"{path}: this is no adapter for {self.path.name} ({last_error()})")
            self._adapters[path] = handle
        return self._adapters[path]

    def close(self) -> None:
        """Free the weights and the adapters; nothing may use the model afterwards."""
        self._adapters.clear()
        if self.handle:
            cancellation.call_briefly(llama_cpp.llama_model_free, self.handle)
            self.handle = None

    @property
    def name(self) -> str:
        """The name of the model in messages."""
        return str(self.path)

    def chat_template(self) -> str | None:
        """Return the Jinja template in the file, if it has one."""
        template = llama_cpp.llama_model_chat_template(self.handle, None)
        return template.decode("utf-8", "replace") if template else None

    def tokenize(self, text: str, *, special: bool = False, start: bool = False) -> list[Token]:
        """Return the tokens of a text.

        Args:
            special: read `<|im_start|>` and the like as control tokens; False for any text from outside.
            start: begin with the tokens that open a sequence, if the model has them.
        """
        if self._newline and not start:
            return tokens_without_space(partial(self._raw_tokens, special=special, start=False), self._newline, text)
        return self._raw_tokens(text, special=special, start=start)

    def _raw_tokens(self, text: str, *, special: bool, start: bool) -> list[Token]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), tokens, room, start, special)
        return list(tokens[:count])

    def piece(self, token: Token) -> bytes:
        """Return the bytes of a token; none for control tokens."""
        length = llama_cpp.llama_token_to_piece(self.vocab, token, self._piece, len(self._piece), 0, False)
        return self._piece.raw[: max(length, 0)]

    def text_piece(self, token: Token) -> bytes | None:
        """Return the bytes of a token; None for control, unknown and reserved tokens."""
        text = llama_cpp.LLAMA_TOKEN_ATTR_NORMAL | llama_cpp.LLAMA_TOKEN_ATTR_BYTE
        return self.piece(token) if llama_cpp.llama_vocab_get_attr(self.vocab, token) & text else None

    def end_of_turn(self) -> Token:
        """Return the token that ends an answer; -1 if the vocabulary has none. llama.cpp guesses it by its name."""
        turn = llama_cpp.llama_vocab_eot(self.vocab)
        return turn if turn >= 0 else int(llama_cpp.llama_vocab_eos(self.vocab))

    def is_control(self, token: Token) -> bool:
        """Tell whether a token stands for no text."""
        return bool(llama_cpp.llama_vocab_is_control(self.vocab, token))

    def token_text(self, token: Token) -> str:
        """Return how a control token is written, such as `<|im_end|>`; empty for no token."""
        text = llama_cpp.llama_vocab_get_text(self.vocab, token) if token >= 0 else None
        return text.decode("utf-8", "replace") if text else ""
