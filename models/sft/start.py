"""The adapter that a training begins from: its files in the job directory, and its weights in the model."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.adapters.peft_settings import CONFIG, MANIFEST, WEIGHTS, check_fits_gguf
from models.errors import ModelError
from models.files.hashing import file_sha256
from models.files.json_files import read_object
from models.sft.job import Lora, Start
from models.sft.job_files import START


def start_config(adapter: Path) -> dict[str, Any]:
    """Read the configuration of an adapter, and check that a training can continue it.

    Args:
        adapter: a folder of PEFT.

    Raises:
        ModelError: a file is missing or damaged, or it uses something that no GGUF adapter can hold, such as DoRA.
    """
    for name in (CONFIG, WEIGHTS):
        if not (adapter / name).is_file():
            raise ModelError(f"{adapter}: {name} is missing, so no training can continue this adapter")
    config = read_object(adapter / CONFIG)
    check_fits_gguf(config)
    if type(config.get("r")) is not int or config["r"] < 1 or not config.get("target_modules"):
        raise ModelError(f"{adapter / CONFIG}: it does not say the rank of the adapter (r), or its target_modules")
    return config


def lora_of(config: Mapping[str, Any], dropout: float) -> Lora:
    """Return the LoRA settings of such an adapter, with the dropout of the training that continues it."""
    targets = config["target_modules"]
    names = (targets,) if isinstance(targets, str) else tuple(sorted(map(str, targets)))
    return Lora(config["r"], float(config.get("lora_alpha") or 1), dropout, names)


def copy_start(adapter: Path, job: Path) -> str:
    """Copy an adapter into a job directory, so that later changes of the original have no effect.

    Returns:
        The SHA-256 of its weights.

    Raises:
        OSError: it cannot be copied.
    """
    target = job / START
    target.mkdir()
    for name in (CONFIG, WEIGHTS, MANIFEST):
        if (adapter / name).exists():
            shutil.copyfile(adapter / name, target / name)
    return file_sha256(target / WEIGHTS)


def start_lora(job: Path, dropout: float) -> Any:
    """Return the `peft.LoraConfig` of the adapter in a job directory, to continue it.

    Rank, scale and targets are kept, even if the trainer has no setting for them.

    Raises:
        ModelError: a file is missing or damaged.
    """
    from peft import LoraConfig

    start_config(job / START)
    config = LoraConfig.from_pretrained(str(job / START))
    config.inference_mode = False
    # The job names the base.
    config.base_model_name_or_path = None
    config.lora_dropout = dropout
    return config


def load_start(model: Any, job: Path, start: Start) -> None:
    """Load the weights of the adapter in a job directory into a model with that LoRA configuration.

    Raises:
        ModelError: these are not the weights that the training was made with, or they do not fit the base.
    """
    from peft import set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = job / START / WEIGHTS
    try:
        if file_sha256(path) != start.sha256:
            raise ModelError(f"{path}: these are not the weights of {start.name} that this training was made with")
        result = set_peft_model_state_dict(model, load_file(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: it cannot be read ({error})") from error
    except RuntimeError as error:
        raise ModelError(f"{path}: these weights have other sizes than those of the base") from error
    missing = [name for name in result.missing_keys if "lora_" in name]
    if missing or result.unexpected_keys:
        name = (missing or result.unexpected_keys)[0]
        raise ModelError(f"{path}: these weights are not those of an adapter for this base ({name})")
