"""The base with the LoRA adapter that is trained."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from models.adapters.peft_settings import check_fits_gguf
from models.errors import ModelError
from models.sft.base import Base
from models.sft.job import Job, Precision
from models.sft.job_files import JOB
from models.sft.start import load_start, start_lora


def lora_config(job: Job, folder: Path) -> LoraConfig:
    """Return the configuration of the adapter, checked for conversion to GGUF.

    Raises:
        ModelError: no GGUF adapter can hold it, or the adapter to begin from is damaged.
    """
    lora = (
        LoraConfig(
            r=job.lora.rank,
            lora_alpha=job.lora.alpha,
            lora_dropout=job.lora.dropout,
            target_modules=list(job.lora.targets),
            task_type="CAUSAL_LM",
        )
        if job.start is None
        else start_lora(folder, job.lora.dropout)
    )
    check_fits_gguf({**lora.to_dict(), "peft_type": "LORA"})
    return lora


def add_lora(base: Base, lora: LoraConfig, job: Job, folder: Path) -> Any:
    """Add an adapter to a base, with the weights of the adapter to begin from if there is one.

    Raises:
        ModelError: the base has no weights of the target names, or the adapter to begin from does not fit it.
    """
    if is_bfloat16(job.precision):
        base.model.to(torch.bfloat16)
    try:
        model = get_peft_model(base.model, lora)
    except ValueError as error:
        raise ModelError(f"{folder / JOB}: this base has no weights of the names in lora.targets") from error
    for parameter in model.parameters():
        if parameter.requires_grad:
            # Their changes are too small for 16 bits.
            parameter.data = parameter.data.float()
    if job.start is not None:
        load_start(model, folder, job.start)
    if job.recompute:
        base.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def is_bfloat16(precision: Precision) -> bool:
    """Tell whether a precision means bfloat16 on this machine."""
    if precision == "auto":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())
    return precision == "bfloat16"
