"""Training: tokens a second and peak memory of models.sft against trl.SFTTrainer, each in a process of its own.

Both train the same LoRA on the same lists of bundles, from the same base in 32 bits, with as many tokens in a batch.
TRL is measured as it is by default, with gradient checkpointing, and as fast as it can be, without; ours in both
ways too.

python -m benchmarks.sft [--steps 12] [--batch 8]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.measure import peak_memory_mb, report

_RANK = 16
_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--run", choices=["ours", "ours-recompute", "trl", "trl-default"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run in ("ours", "ours-recompute"):
        return _ours(given.folder, recompute=given.run == "ours-recompute")
    if given.run:
        return _trl(given.folder, given.batch, checkpointing=given.run == "trl-default")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = _data(folder, given.steps * given.batch)
        _write_job(folder, lines, given.batch)
        _write_base(folder / "base")
        found = {}
        command = [sys.executable, "-m", "benchmarks.sft"]
        for kind in ("ours", "ours-recompute", "trl", "trl-default"):
            options = ["--run", kind, "--folder", name, "--batch", str(given.batch)]
            result = subprocess.run(command + options, check=True, stdout=subprocess.PIPE, text=True)
            found[kind] = json.loads(result.stdout.splitlines()[-1])
        for ours, kind, what in (
            ("ours", "trl", "TRL without checkpointing"),
            ("ours", "trl-default", "TRL as it is"),
            ("ours-recompute", "trl-default", "TRL as it is, and ours with --recompute"),
        ):
            report(f"tokens a second, {what}", found[ours]["speed"], found[kind]["speed"], "/s", "at least 1.3")
            report(f"peak memory, {what}", found[ours]["memory"], found[kind]["memory"], "MB", "at most 0.6")
    return None


def _data(folder: Path, count: int) -> list[dict[str, Any]]:
    """The first training examples of the demo data, over and over, as kdtui makes them."""
    from importlib.resources import files

    from kdtui.workflows.import_dataset import import_dataset
    from kdtui.workflows.training_set import training_examples
    from store.database import open_database
    from store.records import TrainingSettings

    db = open_database(folder / "kdtui.db")
    names = ("outdoor", "kitchen")
    for name in names:
        list(import_dataset(db, Path(str(files("kdtui") / "demo_data" / f"{name}.jsonl")), name))
    made = list(training_examples(db, TrainingSettings(names, "list", epochs=-(-count // 40))))
    return [{**line, "epoch": 0} for line in made[:count]]


def _write_job(folder: Path, lines: list[dict[str, Any]], batch: int) -> None:
    from kdtui.distill.training_set import as_prompt_completion, encode
    from models.chat import ChatTokenizer
    from models.embedded import embedded_student
    from models.llama import LlamaModel
    from models.sft.examples import read_example

    base = str(embedded_student())
    vocabulary = LlamaModel(Path(base))
    chat = ChatTokenizer(vocabulary)
    lengths = [read_example(line, chat, vocabulary, "").length for line in lines]
    (folder / "train.jsonl").write_bytes(b"".join(map(encode, lines)))
    (folder / "rows.jsonl").write_bytes(b"".join(encode(row) for line in lines for row in as_prompt_completion(line)))
    job = {
        "base": str(folder / "base"),
        "epochs": 1,
        "batch_tokens": batch * sum(lengths) // len(lengths),
        "checkpoints": 1,
        "lora": {"rank": _RANK, "alpha": 2 * _RANK, "targets": _TARGETS},
    }
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "tokens").write_text(str(sum(lengths)))


def _write_base(folder: Path) -> None:
    """The embedded student in 32 bits, as a folder of transformers: TRL trains no model that comes from a GGUF file."""
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
    from models.sft.training import Training

    # A folder of its own: in one where a training has been, another would go on with it.
    own = folder / f"ours-{recompute}"
    own.mkdir()
    shutil.copy(folder / "train.jsonl", own)
    job = json.loads((folder / "job.json").read_text())
    (own / "job.json").write_text(json.dumps(job | {"recompute": recompute}))
    training = Training(own)
    started = perf_counter()
    training.run()
    _tell(folder, perf_counter() - started)


def _trl(folder: Path, batch: int, *, checkpointing: bool) -> None:
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from models.sft.base import load_base

    base = str(folder / "base")
    trainer = SFTTrainer(
        model=load_base(base).model,
        args=SFTConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=batch,
            num_train_epochs=1,
            learning_rate=5e-4,
            gradient_checkpointing=checkpointing,
            completion_only_loss=True,
            max_length=None,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=load_dataset("json", data_files=str(folder / "rows.jsonl"), split="train"),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(r=_RANK, lora_alpha=2 * _RANK, target_modules=_TARGETS, task_type="CAUSAL_LM"),
    )
    started = perf_counter()
    trainer.train()
    _tell(folder, perf_counter() - started)


def _tell(folder: Path, seconds: float) -> None:
    speed = int((folder / "tokens").read_text()) / seconds
    print(json.dumps({"speed": speed, "memory": peak_memory_mb()}))


if __name__ == "__main__":
    main()
