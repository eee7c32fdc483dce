"""The trainer: epochs of batches, evaluations and checkpoints, until it is done or stopped."""

import json
import math
import os
import random
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from socket import gethostname
from time import monotonic
from typing import Any

import torch
from accelerate import Accelerator
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from models.adapters.base_shape import configured_shape
from models.adapters.peft_settings import BASE_CONFIG, MANIFEST, WEIGHTS
from models.errors import ModelError, not_finite
from models.files.whole_files import put_in_place, write_whole
from models.sft.answers import answer_examples
from models.sft.base import load_base
from models.sft.checkpoints import (
    FOLDER,
    TrainingProgress,
    checkpoint_of,
    damaged_checkpoints,
    drop_resumption,
    load_checkpoint,
    save_checkpoint,
    step_of,
    whole_checkpoints,
)
from models.sft.evaluation import ValidationScores, evaluate_model
from models.sft.examples import Example, batches, read_examples
from models.sft.job import ANSWER_PASSES, read_job, spread
from models.sft.job_files import (
    ADAPTER,
    ANSWERS,
    JOB,
    TRAIN,
    VALID,
    add_metrics,
    beat,
    beating,
    forget_metrics,
)
from models.sft.lora_model import add_lora, is_bfloat16, lora_config
from models.sft.objective import Objective, collate
from models.sft.start import load_start
from models.sft.state import resume_point
from models.sft.throughput import Throughput, device_name, peak_memory

_ANSWER_BATCHES = 4
"""Size of a batch without gradients, in training batches: it takes less memory per token, and a small batch would not
keep the processor busy."""

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors")


class Stopped(Exception):
    """The training was stopped on request."""


class Trainer:
    """Trains in a job directory, from the beginning or from the last complete checkpoint.

    Args:
        began: start of this process, on the clock of `monotonic`; None for now.

    Raises:
        ModelError: the job, its data or its base cannot be used.
    """

    def __init__(self, folder: Path, began: float | None = None) -> None:
        self._folder = folder
        self._began = monotonic() if began is None else began
        self._job = read_job(folder / JOB)
        job = self._job
        lora = lora_config(job, folder)
        self._accelerator = Accelerator(
            # Explicit, because otherwise several processes on processors do not find each other.
            cpu=not torch.accelerator.is_available(),
            mixed_precision="bf16" if is_bfloat16(job.precision) else "no",
        )
        torch.manual_seed(job.seed)
        # cuDNN would plan for each shape of a batch, which takes longer than the step, and shapes seldom repeat.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self._say(f"loading {Path(job.base).name}")
        with beating(folder):
            base = load_base(job.base)
        configured_shape(base.model.config.to_dict(), job.base)
        self._vocabulary = base.vocabulary
        self._longest = min(job.longest, base.context)
        self._say("reading the examples")
        self._train = read_examples(folder / TRAIN, base.vocabulary, longest=self._longest)
        has_valid = (folder / VALID).exists()
        self._valid = read_examples(folder / VALID, base.vocabulary, longest=self._longest) if has_valid else None
        if job.start is not None:
            self._say(f"beginning from {job.start.name}")
        self._model = model = add_lora(base, lora, job, folder)
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            self._trained, lr=job.optimizer.learning_rate, weight_decay=job.optimizer.weight_decay, betas=(0.9, 0.98)
        )
        self._objective, self._optimizer = self._accelerator.prepare(Objective(model), optimizer)
        self._progress = TrainingProgress()
        self._is_stopping = False
        # For the steps since the last line of metrics: the sum of the losses, and their number of tokens.
        self._loss_sum, self._loss_tokens = 0.0, 0
        self._has_metrics = True

    def run(self) -> None:
        """Train, and write the best adapter to the folder `adapter`.

        Raises:
            Stopped: by SIGTERM, with a checkpoint of the last step if that could be written.
            ModelError: the loss is NaN or infinite, or a checkpoint cannot be used.
        """
        signal.signal(signal.SIGTERM, self._stop)
        checkpoints = self._folder / FOLDER
        if (last := self._last_whole(checkpoints)) is not None:
            self._progress = load_checkpoint(last, self._optimizer, self._model)
            self._say(f"resuming from step {self._progress.step:,}")
        present = self._accelerator.num_processes * self._job.optimizer.accumulate
        self._per_step = self._progress.keep_batches(present)
        if self._is_main:
            forget_metrics(self._folder, self._progress.step, judges_anew=self._progress.is_unjudged)
        if self._vocabulary.chat_template() is None:
            self._say(
                "the base has no chat template: a prompt is its messages as paragraphs, also when the adapter is used"
            )
        for examples, what in ((self._train, TRAIN), (self._valid, VALID)):
            if examples is not None and examples.skipped:
                self._say(
                    f"{what}: {examples.skipped:,} examples are longer than {self._longest:,} tokens and are skipped"
                )
        self._objective.train()
        self._all_epochs()
        self._accelerator.wait_for_everyone()
        if self._is_main:
            self._finish(checkpoints)

    def _last_whole(self, checkpoints: Path) -> Path | None:
        """Return the checkpoint to resume from, and delete damaged ones, which will be written again.

        Raises:
            ModelError: all checkpoints are damaged.
        """
        whole, damaged = whole_checkpoints(checkpoints), damaged_checkpoints(checkpoints)
        if damaged and not whole:
            path, problem = max(damaged.items())
            raise ModelError(
                f"{path}: it is damaged ({problem}), and there is no other; delete {checkpoints} to start again"
            )
        # No file is deleted before all processes have checked.
        self._accelerator.wait_for_everyone()
        for path, problem in damaged.items():
            self._say(f"{path.name} is damaged ({problem}) and is deleted")
            if self._is_main:
                shutil.rmtree(path, ignore_errors=True)
        return whole[-1] if whole else None

    def _all_epochs(self) -> None:
        job, progress = self._job, self._progress
        lengths = [len(self._steps_of(epoch)) for epoch in range(job.epochs)]
        total = sum(lengths)
        passes = ANSWER_PASSES if job.answers and self._valid is not None else 0
        clock = self._clock = Throughput(progress, total, passes)
        self._start_seconds = monotonic() - self._began
        first = 0
        for epoch, length in enumerate(lengths):
            evaluate_at = spread(length, job.evaluations)
            save_at = spread(length, job.checkpoints)
            for number, step in enumerate(self._steps_of(epoch), start=1):
                if first + number < progress.step or (first + number == progress.step and not progress.is_unjudged):
                    continue
                if job.patience is not None and progress.since_best >= job.patience:
                    # Checked before a step, because a training can also be stopped after it lost patience.
                    best = (progress.best or (0,))[-1]
                    self._say(f"stopping early: no evaluation was better than that of step {best:,}")
                    return
                is_stopping = improved = False
                if first + number > progress.step:
                    is_stopping = self._step(step, total, epoch, clock)
                    progress.is_unjudged = number in evaluate_at and self._valid is not None
                if progress.is_unjudged and self._valid is not None and not is_stopping:
                    is_stopping, improved = self._evaluate()
                if number in save_at or improved or is_stopping:
                    self._save()
                if is_stopping:
                    raise Stopped(f"stopped at step {progress.step:,}; {resume_point(self._folder)}")
            first += length

    def _steps_of(self, epoch: int) -> list[list[list[Example]]]:
        """Return the batches of an epoch in random order, grouped into the steps of all processes."""
        shuffled = batches(self._train.of_epoch(epoch), self._job.batch_tokens)
        random.Random(f"{self._job.seed} {epoch}").shuffle(shuffled)
        return [shuffled[start : start + self._per_step] for start in range(0, len(shuffled), self._per_step)]

    def _step(self, step: Sequence[Sequence[Example]], total: int, epoch: int, clock: Throughput) -> bool:
        """Change the weights once, by the mean loss over all answers of the batches; return whether to stop then."""
        accelerator, progress = self._accelerator, self._progress
        rate = self._job.optimizer.rate_at(progress.step, total)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        learned = sum(example.learned for batch in step for example in batch)
        mine = step[accelerator.process_index :: accelerator.num_processes]
        sum_of_losses = torch.zeros((), device=accelerator.device)
        # Every process runs the same number of backward passes, or they would wait for each other. A process without a
        # batch takes one of another process with weight 0.
        rounds = -(-len(step) // accelerator.num_processes)
        for number in range(rounds):
            batch, counts = (mine[number], 1) if number < len(mine) else (step[0], 0)
            is_last = number == rounds - 1
            with nullcontext() if is_last else accelerator.no_sync(self._objective):
                loss_sum = self._objective(collate(batch).to(accelerator.device)) * counts
                # Gradients are averaged over processes, and the loss is a mean over the answers of all of them.
                accelerator.backward(loss_sum * accelerator.num_processes / learned)
            sum_of_losses += loss_sum.detach()
            beat(self._folder)
        # Processes that get the signal at different steps stop at the same step.
        stops = torch.tensor(float(self._is_stopping), device=accelerator.device)
        sums = accelerator.reduce(torch.stack([sum_of_losses, stops]))
        loss, is_stopping = float(sums[0]), bool(sums[1] > 0)
        norm = accelerator.clip_grad_norm_(self._trained, self._job.optimizer.clip)
        if not math.isfinite(loss) and not progress.step:
            # Before the first step the cause can only be the base.
            raise ModelError(not_finite(self._job.base))
        if not math.isfinite(loss) or not math.isfinite(float(norm)):
            has_checkpoint = bool(whole_checkpoints(self._folder / FOLDER))
            kept = "the last checkpoint is from before" if has_checkpoint else "no checkpoint was written yet"
            raise ModelError(
                f"the loss is not a number any more at step {progress.step + 1:,}; lower optimizer.learning_rate "
                f"(--learning-rate, now {self._job.optimizer.learning_rate:g}); {kept}"
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        progress.step += 1
        progress.tokens += sum(example.length for batch in step for example in batch)
        self._loss_sum += loss
        self._loss_tokens += learned
        if self._is_main and clock.is_time(progress):
            mean = self._loss_sum / self._loss_tokens
            self._log(
                {
                    "step": progress.step,
                    "steps": total,
                    "epoch": epoch,
                    "loss": mean,
                    "lr": rate,
                    "tokens": progress.tokens,
                    "tokens_per_second": clock.speed,
                    "step_tokens_per_second": clock.step_speed,
                    "start_seconds": self._start_seconds,
                    "device": device_name(accelerator.device),
                    "machine": gethostname(),
                    "peak_memory_bytes": peak_memory(accelerator.device),
                    "eta_seconds": clock.seconds_left,
                    "skipped": sum(each.skipped for each in (self._train, self._valid) if each is not None),
                },
            )
            self._say(f"step {progress.step:,} of {total:,}: loss {mean:.4f}, {clock.speed:,.0f} tokens/s")
            self._loss_sum, self._loss_tokens = 0.0, 0
        return is_stopping

    def _evaluate(self) -> tuple[bool, bool]:
        """Evaluate; return whether to stop, and whether the result is the best so far.

        All processes do the same, and so agree. If one has to stop meanwhile, the evaluation counts for none of them,
        and is repeated when the training resumes.
        """
        assert self._valid is not None
        progress = self._progress
        began = monotonic()
        self._objective.eval()
        scores = None
        with suppress(Stopped):
            scores = evaluate_model(
                self._accelerator.unwrap_model(self._objective),
                self._valid.usable,
                self._vocabulary,
                self._job.batch_tokens,
                self._accelerator.device,
                between=self._between,
            )
        self._objective.train()
        stops = torch.tensor(float(scores is None), device=self._accelerator.device)
        is_stopping = float(self._accelerator.reduce(stops)) > 0
        if scores is None or is_stopping:
            return True, False
        if not math.isfinite(scores.loss):
            raise ModelError(
                f"the loss on the validation examples is not a number any more at step {progress.step:,}; lower "
                f"optimizer.learning_rate (--learning-rate, now {self._job.optimizer.learning_rate:g})"
            )
        seconds = monotonic() - began
        self._clock.add_evaluation(seconds)
        progress.is_unjudged = False
        is_best = progress.add_evaluation(scores.value, scores.loss)
        if self._is_main:
            line: dict[str, Any] = {
                "step": progress.step,
                "valid_loss": scores.loss,
                "valid_seconds": seconds,
                "valid_tokens": sum(example.length for example in self._valid.usable),
            }
            if scores.pair_f1 is not None:
                line["pair_f1"] = scores.pair_f1
            self._log(line)
            self._say(_evaluation_line(progress.step, scores))
        return False, is_best

    def _between(self) -> None:
        """Write a heartbeat and check for a stop, between two parts of an evaluation."""
        beat(self._folder)
        if self._is_stopping:
            raise Stopped(f"stopped at step {self._progress.step:,}; {resume_point(self._folder)}")

    def _log(self, values: dict[str, Any]) -> None:
        """Append a line of metrics; the training continues even if the disk is full."""
        try:
            add_metrics(self._folder, values)
        except OSError as error:
            if self._has_metrics:
                self._say(f"metrics cannot be written ({error.strerror}); the training continues without them")
            self._has_metrics = False

    def _save(self) -> None:
        if not self._is_main:
            return
        try:
            save_checkpoint(self._folder / FOLDER, self._progress, self._optimizer, self._save_adapter)
        except OSError as error:
            # The training continues; there can be room for the next checkpoint.
            self._say(f"the checkpoint of step {self._progress.step:,} cannot be written ({error.strerror})")

    def _save_adapter(self, folder: Path) -> None:
        # No tokens are added. Otherwise PEFT checks the base for that, and warns if it is a GGUF file.
        self._model.save_pretrained(folder, save_embedding_layers=False)
        config = self._model.get_base_model().config
        (folder / BASE_CONFIG).write_text(config.to_json_string(use_diff=False), encoding="utf-8")

    def _finish(self, checkpoints: Path) -> None:
        """Write the adapter of the best evaluation, or of the last step if there was none, with its manifest."""
        self._save()
        best = checkpoint_of(checkpoints, self._progress.best[-1]) if self._progress.best else None
        source = best or next(reversed(whole_checkpoints(checkpoints)), None)
        if source is None:
            raise ModelError(f"{checkpoints}: no checkpoint could be written; is the disk full?")
        target = self._folder / ADAPTER
        part = target.with_name(f"{target.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        try:
            shutil.copytree(source, part, ignore=shutil.ignore_patterns("optimizer*", "state.json", "README.md"))
            self._write_answers(part)
            self._write_manifest(part, step_of(source))
            put_in_place(part, target)
        except OSError as error:
            # A rename needs no room on the disk, and deleting the optimizer makes room for the manifest.
            shutil.rmtree(part, ignore_errors=True)
            source.rename(target)
            drop_resumption(target)
            self._say(f"the adapter is a renamed checkpoint, because it cannot be copied ({error.strerror})")
            self._write_manifest(target, step_of(source))

    def _write_answers(self, adapter: Path) -> None:
        """Write the answers to the validation examples with this adapter, and as before the training."""
        if self._valid is None or not self._job.answers:
            return
        self._say("answering the validation examples, with the adapter and as before the training")
        self._objective.eval()
        set_peft_model_state_dict(self._model, load_file(adapter / WEIGHTS))
        after = self._answers()
        if self._job.start is None:
            with self._model.disable_adapter():
                before = self._answers()
        else:
            load_start(self._model, self._folder, self._job.start)
            before = self._answers()
        lines = [
            {"session": example.session, "dataset": example.dataset, "before": old, "after": new}
            for example, old, new in zip(self._valid.usable, before, after, strict=True)
        ]
        write_whole(adapter / ANSWERS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def _answers(self) -> list[dict[str, Any]]:
        assert self._valid is not None
        return answer_examples(
            self._accelerator.unwrap_model(self._objective),
            self._valid.usable,
            self._vocabulary,
            _ANSWER_BATCHES * self._job.batch_tokens,
            self._accelerator.device,
            between=self._between,
        )

    def _write_manifest(self, adapter: Path, step: int) -> None:
        """Write what is known about the adapter of a step, in addition to the manifest of the job."""
        manifest = {
            **self._job.manifest,
            "base": self._job.base,
            "seed": self._job.seed,
            "steps": self._progress.step,
            "step": step,
            "tokens": self._progress.tokens,
            "versions": _versions(),
        }
        write_whole(adapter / MANIFEST, json.dumps(manifest, indent=2) + "\n")

    def _stop(self, *_: object) -> None:
        if self._is_main and not self._is_stopping:
            # Python can be in the middle of a print.
            with suppress(OSError):
                os.write(2, b"stopping: finishing the step, then writing a checkpoint\n")
        self._is_stopping = True

    @property
    def _is_main(self) -> bool:
        return bool(self._accelerator.is_main_process)

    def _say(self, text: str) -> None:
        if self._is_main:
            with suppress(OSError):
                print(text, file=sys.stderr, flush=True)


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _evaluation_line(step: int, scores: ValidationScores) -> str:
    quality = "" if scores.pair_f1 is None else f", pair F1 {scores.pair_f1:.4f}"
    return f"evaluation at step {step:,}: loss {scores.loss:.4f}{quality}"
