"""The objective: the cross entropy of the answers. Logits are computed only where there is an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sft.examples import Example

_ROWS = 512
"""Rows of logits in memory at a time; each takes four bytes per token of the vocabulary, several times over."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples as tensors.

    Attributes:
        tokens: (examples, length).
        places: (examples, length), the position of each token; all branches begin where the prompt ends.
        mask: (examples, 1, length, length), which token attends to which; None if each token attends to all before it.
        rows, columns: (answers,), where each token of an answer is predicted.
        targets: (answers,), the tokens to predict there.
    """

    tokens: Tensor
    places: Tensor
    mask: Tensor | None
    rows: Tensor
    columns: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "Batch":
        mask = None if self.mask is None else self.mask.to(device)
        tensors = (self.rows.to(device), self.columns.to(device), self.targets.to(device))
        return Batch(self.tokens.to(device), self.places.to(device), mask, *tensors)


def collate(examples: Sequence[Example]) -> Batch:
    """Join examples into one batch, padded at the end. The last token of an answer is only a target, and not read."""
    length = max(_read(example) for example in examples)
    tokens = torch.zeros(len(examples), length, dtype=torch.long)
    # Positions continue through the padding: transformers takes a restart for several texts in a row, and makes a mask.
    places = torch.arange(length).repeat(len(examples), 1)
    # 0 for the prompt, n for branch n, -1 for padding.
    part = torch.full((len(examples), length), -1)
    rows, columns, targets = [], [], []
    for row, example in enumerate(examples):
        start = len(example.prompt)
        tokens[row, :start] = torch.tensor(example.prompt)
        part[row, :start] = 0
        end = start
        for number, branch in enumerate(example.branches, start=1):
            first, end = end, end + len(branch.tokens) - 1
            read = end - first
            tokens[row, first:end] = torch.tensor(branch.tokens[:-1])
            places[row, first:end] = torch.arange(start, start + read)
            part[row, first:end] = number
            for at in range(len(branch.tokens) - branch.learned, len(branch.tokens)):
                rows.append(row)
                # The first token of a branch is predicted by the last token of the prompt.
                columns.append(first + at - 1 if at else start - 1)
                targets.append(branch.tokens[at])
    mask = None
    if any(len(example.branches) > 1 for example in examples):
        before = torch.ones(length, length, dtype=torch.bool).tril()
        same = part[:, :, None] == part[:, None, :]
        mask = (before & (same | (part == 0)[:, None, :]))[:, None]
    return Batch(tokens, places, mask, torch.tensor(rows), torch.tensor(columns), torch.tensor(targets))


def _read(example: Example) -> int:
    return example.length - len(example.branches)


class Objective(nn.Module):  # type: ignore[misc]
    """The sum of the losses of a batch's answers, in nats.

    Args:
        model: a causal language model of transformers, with or without an adapter.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        hidden = self._hidden(batch)
        loss = hidden.new_zeros((), dtype=torch.float32)
        for first in range(0, len(batch.targets), _ROWS):
            targets = batch.targets[first : first + _ROWS]
            loss = loss + functional.cross_entropy(
                self._logits(hidden[first : first + _ROWS]), targets, reduction="sum"
            )
        return loss

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def log_probabilities(self, batch: Batch, among: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log probability of each answer token, (answers,), and its logits of `among`, (answers, among)."""
        hidden = self._hidden(batch)
        log_probabilities, chosen = [], []
        for first in range(0, len(batch.targets), _ROWS):
            logits = self._logits(hidden[first : first + _ROWS])
            targets = batch.targets[first : first + _ROWS, None]
            log_probabilities.append(logits.log_softmax(-1).gather(1, targets)[:, 0])
            chosen.append(logits[:, among])
        return torch.cat(log_probabilities), torch.cat(chosen)

    def _hidden(self, batch: Batch) -> Tensor:
        """Return (answers, width): the last hidden states where answers are predicted."""
        decoder = self._causal.get_decoder()
        states: Tensor = decoder(
            input_ids=batch.tokens, position_ids=batch.places, attention_mask=self._mask(batch), use_cache=False
        ).last_hidden_state
        return states[batch.rows, batch.columns]

    def _mask(self, batch: Batch) -> Tensor | dict[str, Tensor] | None:
        """Return the mask for this base: with a sliding window the given mask alone would allow too much."""
        config = self._causal.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        if batch.mask is None or window is None:
            return batch.mask
        near = batch.mask & (batch.places[:, :, None] - batch.places[:, None, :] < window)[:, None]
        if getattr(config, "layer_types", None) is None:
            return near
        return {"full_attention": batch.mask, "sliding_attention": near}

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._causal.get_output_embeddings()(hidden)
        return logits.float()

    @property
    def _causal(self) -> Any:
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
