"""A tiny training set that is learned quickly, its job, and the results of the trainer."""

import io
import json
import signal
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from models.messages import Message
from models.prompt_format import NO, YES, pair_question
from models.sft.__main__ import main
from models.sft.base import load_base

SYSTEM = Message("system", "Bundle.")
WORDS = ("camp", "phone")


def line(words: list[str], **more: Any) -> str:
    """Return a session whose odd products are one bundle, and whose even ones are another: easy to learn."""
    products = "\n".join(f"{number}. {word}" for number, word in enumerate(words, start=1))
    pairs = [(a, b) for a in range(1, len(words) + 1) for b in range(a + 1, len(words) + 1)]
    bundles = [list(range(first, len(words) + 1, 2)) for first in (1, 2)]
    return json.dumps(
        {
            "session": products,
            "prompt": [{"role": "system", "content": SYSTEM.content}, {"role": "user", "content": products}],
            "completions": [
                {"given": pair_question(a, b), "answer": YES if (a + b) % 2 == 0 else NO, "pair": [a, b]}
                for a, b in pairs
            ],
            "bundles": [bundle for bundle in bundles if len(bundle) > 1],
            **more,
        }
    )


def write_job(folder: Path, **changes: Any) -> None:
    path = folder / "job.json"
    content = json.loads(path.read_text()) if path.exists() else {"epochs": 2, "batch_tokens": 600}
    content.setdefault("optimizer", {"learning_rate": 0.01})
    path.write_text(json.dumps(content | changes))


def as_folder(base: Path, folder: Path) -> Path:
    """Save a GGUF model as a folder of transformers."""
    from transformers import AutoTokenizer

    loaded = load_base(str(base)).model
    plain = type(loaded)(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    del plain.config.quantization_config
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base.parent, gguf_file=base.name).save_pretrained(folder)
    return folder


def train(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Train in this process: another process would take longer to start than to train."""
    handler, told = signal.getsignal(signal.SIGTERM), io.StringIO()
    try:
        with redirect_stderr(told):
            code = main([str(folder)])
    finally:
        signal.signal(signal.SIGTERM, handler)
    return subprocess.CompletedProcess(["models.sft", str(folder)], code, "", told.getvalue())


def start(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "models.sft", str(folder)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def on_two_processes(folder: Path) -> list[str]:
    return [
        sys.executable,
        *["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "models.sft"],
        str(folder),
    ]


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, Any]:
    """Return the tensors of the adapter."""
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(folder / "adapter" / "adapter_model.safetensors")
    return found


def difference(folder: Path, other: Path) -> float:
    """Return how much the adapter of a training differs from another, as a share of what the other learned."""
    one, two = weights(folder), weights(other)
    # These matrices begin as zeros, so their content was learned.
    changed = [name for name in two if "lora_B" in name]
    total = sum(float(two[name].square().sum()) for name in changed)
    assert total > 0
    return sum(float((one[name] - two[name]).square().sum()) for name in changed) / total
