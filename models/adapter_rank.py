"""A LoRA adapter in a lower rank: a training uses little of its rank, and a file of half the size does as well."""

import json
from pathlib import Path

import numpy as np

from models.adapters import CONFIG, WEIGHTS, Array, check_trainable, read_safetensors, scale_of
from models.errors import ModelError
from models.json_files import read_object
from models.whole_files import write_whole


def reduce_rank(adapter: Path, output: Path, rank: int) -> float:
    """Write the nearest adapter of a rank (Eckart and Young, 1936: the largest singular values), in 16 bits.

    Args:
        adapter: a folder of PEFT; the other files in it are not copied.
        output: another such folder, which is made where it is missing.

    Returns:
        The share of the squared norm of the adapter's changes that is left, 0..1.

    Raises:
        ModelError: a file is missing or damaged, or the adapter is none that a GGUF file can hold.
        OSError: it cannot be written.
    """
    from safetensors.numpy import save_file

    config = read_object(adapter / CONFIG)
    check_trainable(config)
    tensors = dict(read_safetensors(adapter / WEIGHTS))
    written: dict[str, Array] = {}
    left = whole = 0.0
    for key, a in tensors.items():
        if ".lora_A" not in key:
            continue
        other = key.replace(".lora_A", ".lora_B")
        if other not in tensors:
            raise ModelError(f"{adapter}: it holds one matrix for {key}, and two are needed")
        module = key.partition(".lora_A")[0].removeprefix("base_model.model.")
        # The product of two narrow matrices: of their triangular factors, which are small.
        q_out, r_out = np.linalg.qr(tensors[other].astype(np.float64) * scale_of(config, module, len(a)))
        q_in, r_in = np.linalg.qr(a.astype(np.float64).T)
        u, values, v = np.linalg.svd(r_out @ r_in.T)
        most = min(rank, len(values))
        root = np.sqrt(values[:most])
        written[key] = np.zeros((rank, a.shape[1]), np.float16)
        written[other] = np.zeros((len(tensors[other]), rank), np.float16)
        written[key][:most] = (root[:, None] * (v[:most] @ q_in.T)).astype(np.float16)
        written[other][:, :most] = ((q_out @ u[:, :most]) * root).astype(np.float16)
        left += float((values[:most] ** 2).sum())
        whole += float((values**2).sum())
    # Both matrices hold the scale already.
    changed = {"r": rank, "lora_alpha": rank, "use_rslora": False, "rank_pattern": {}, "alpha_pattern": {}}
    output.mkdir(parents=True, exist_ok=True)
    save_file(written, output / WEIGHTS)
    write_whole(output / CONFIG, json.dumps({**config, **changed}, indent=2) + "\n")
    return left / whole if whole else 1.0
