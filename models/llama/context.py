"""A cache of llama.cpp with many sequences, whose tokens are decoded together in batches."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import Cancelled, ModelError, not_finite
from models.llama import cancellation
from models.llama.bindings import llama_cpp
from models.llama.model import LlamaModel, watched
from models.student_protocol import Adapter
from models.vocabulary import Token

MOST_SEQUENCES = 64
"""Sequences in a context."""

MOST_ROWS = 64
"""Rows of logits of a batch; each takes four bytes per token of the vocabulary."""


@dataclass(frozen=True, slots=True)
class TokenRun:
    """Tokens that follow each other in one sequence.

    Attributes:
        sequence: its number.
        start: position of the first token.
        tokens: one or more.
        wanted: number of last tokens to compute logits after.
    """

    sequence: int
    start: int
    tokens: Sequence[Token]
    wanted: int


class LlamaContext:
    """A cache of `cells` tokens for `MOST_SEQUENCES` sequences, which share their common beginnings.

    Args:
        cells: most tokens of all sequences together.
        batch: most tokens to decode at once.
        flash: use flash attention, which reads only the cells of a token's own sequence. On a processor it is slower
            per cell, because it does not use matrix products.

    Raises:
        ModelError: there is no memory for a context of that size.
    """

    def __init__(self, model: LlamaModel, *, cells: int, batch: int, threads: int, flash: bool) -> None:
        self._model = model
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = batch
        params.n_seq_max = MOST_SEQUENCES
        params.n_outputs_max = MOST_ROWS
        params.n_threads = params.n_threads_batch = threads
        # One buffer for all sequences: a shared beginning is stored and read once.
        params.kv_unified = True
        params.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO if flash else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.no_perf = True
        handle = cancellation.call(cancellation.current(), llama_cpp.llama_init_from_model, model.handle, params)
        if not handle:
            raise ModelError(f"{model.path}: no memory for a context of {cells:,} tokens; use a smaller one")
        self.handle = handle
        self._adapters: tuple[Adapter, ...] = ()
        self.cells = int(llama_cpp.llama_n_ctx(handle))
        self.batch = int(llama_cpp.llama_n_batch(handle))
        self.can_forget = model.can_forget
        self._memory = llama_cpp.llama_get_memory(handle)
        # The arrays that a batch points to. Each token is in one sequence, so the sequence numbers are one array too.
        self._tokens = np.zeros(batch, np.int32)
        self._positions = np.zeros(batch, np.int32)
        self._counts = np.ones(batch, np.int32)
        self._sequences = np.zeros(batch, np.int32)
        self._sequence_pointers = self._sequences.ctypes.data + np.arange(batch, dtype=np.uintp) * 4
        self._wanted = np.zeros(batch, np.int8)
        self._batch = llama_cpp.llama_batch(
            token=_pointer(self._tokens, ctypes.c_int32),
            pos=_pointer(self._positions, ctypes.c_int32),
            n_seq_id=_pointer(self._counts, ctypes.c_int32),
            seq_id=_pointer(self._sequence_pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    @property
    def cache_bytes(self) -> int:
        """The size of the keys and values of all cells: two numbers of 16 bits per layer and key dimension."""
        model = self._model.handle
        heads = llama_cpp.llama_model_n_head_kv(model) / llama_cpp.llama_model_n_head(model)
        return int(
            2 * 2 * self.cells * llama_cpp.llama_model_n_layer(model) * llama_cpp.llama_model_n_embd(model) * heads
        )

    def close(self) -> None:
        """Free the context."""
        if self.handle:
            cancellation.call_briefly(llama_cpp.llama_free, self.handle)
            self.handle = None

    def use_threads(self, threads: int) -> None:
        """Decode the next batches with this number of threads."""
        llama_cpp.llama_set_n_threads(self.handle, threads, threads)

    def use_adapters(self, adapters: Sequence[Adapter]) -> None:
        """Decode the next batches with these adapters. The caller must not use what is in the cache: other adapters
        made it.

        Raises:
            ModelError: an adapter cannot be loaded.
        """
        handles = [self._model.adapter(adapter.path) for adapter in adapters]
        scales = [adapter.scale for adapter in adapters]
        self._adapters = tuple(adapters)
        cancellation.call_briefly(
            llama_cpp.llama_set_adapters_lora,
            self.handle,
            (llama_cpp.llama_adapter_lora_p_ctypes * len(handles))(*handles),
            len(handles),
            (ctypes.c_float * len(scales))(*scales),
        )

    def copy(self, source: int, target: int, length: int) -> None:
        """Let a sequence begin with the first `length` tokens of another; they are shared, not copied."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def state(self, sequence: int) -> bytes:
        """Return the cache content of a sequence."""
        size = llama_cpp.llama_state_seq_get_size(self.handle, sequence)
        buffer = (ctypes.c_uint8 * size)()
        written = llama_cpp.llama_state_seq_get_data(self.handle, buffer, size, sequence)
        return bytes(memoryview(buffer)[:written])

    def restore(self, sequence: int, state: bytes) -> bool:
        """Fill an empty sequence with a state of this model; return whether it fits."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        return bool(llama_cpp.llama_state_seq_set_data(self.handle, buffer, len(state), sequence))

    def remove(self, sequence: int, start: int = 0) -> None:
        """Remove a sequence from the cache, or its part from a position on."""
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, start, -1)

    def decode(self, pieces: Sequence[TokenRun]) -> npt.NDArray[np.float32]:
        """Decode at most `batch` tokens together.

        Returns:
            Array (wanted, vocabulary): the rows of each piece, in order; a view that is valid until the next call.

        Raises:
            Cancelled: the cancellation in force was cancelled; sequences can lack some of their new tokens.
            ModelError: llama.cpp fails, for lack of memory or another reason, or the logits are NaN.
        """
        end = wanted = 0
        for piece in pieces:
            first, end = end, end + len(piece.tokens)
            self._tokens[first:end] = piece.tokens
            self._positions[first:end] = np.arange(piece.start, piece.start + len(piece.tokens))
            self._sequences[first:end] = piece.sequence
            self._wanted[first:end] = 0
            self._wanted[end - piece.wanted : end] = 1
            wanted += piece.wanted
        self._batch.n_tokens = end
        wish = cancellation.current()
        with watched(self.handle, wish):
            status = cancellation.call(wish, llama_cpp.llama_decode, self.handle, self._batch)
        if wish.is_cancelled:
            raise Cancelled
        if status:
            raise ModelError(f"{self._model.path}: llama.cpp could not decode (status {status})")
        if not wanted:
            return np.empty((0, self._model.vocab_size), np.float32)
        rows = np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.handle), shape=(wanted, self._model.vocab_size))
        if not are_comparable(rows):
            raise ModelError(self._not_finite())
        return rows

    def _not_finite(self) -> str:
        """Return the message for logits that are NaN."""
        if not self._adapters:
            return not_finite(str(self._model.path))
        adapters = ", ".join(f"{adapter.path} x {adapter.scale:g}" for adapter in self._adapters)
        return (
            f"{self._model.path}: with the adapter {adapters} the model computes values that are not finite; lower its "
            "weight (such as NAME=0.5), or leave it out with --adapter none"
        )


def are_comparable(rows: npt.NDArray[np.float32]) -> bool:
    """Tell whether logits can be compared: none is NaN, and none is positive infinity.

    Their sum shows this almost for free: it takes a thousandth of the time that computing them takes. Only if the sum
    is not finite are the logits checked one by one.
    """
    with np.errstate(all="ignore"):
        if np.isfinite(rows.sum()):
            return True
    return not (np.isnan(rows).any() or np.isposinf(rows).any())


def _pointer(array: npt.NDArray[np.generic], kind: type) -> "ctypes._Pointer[ctypes._SimpleCData[int]]":
    return array.ctypes.data_as(ctypes.POINTER(kind))
