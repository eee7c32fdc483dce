"""The training itself: epochs of batches, evaluations and checkpoints, until it is done or told to stop."""

import json
import math
import os
import random
import resource
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
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file

from models.adapters.conversion import BASE_CONFIG, MANIFEST, WEIGHTS, check_trainable, configured_shape
from models.errors import ModelError, not_finite
from models.files.whole_files import put_in_place, write_whole
from models.sft.answers import answers_to
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
from models.sft.evaluation import ValidationScores, evaluate
from models.sft.examples import Example, batches, read_examples
from models.sft.job import Precision, read_job, spread
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
from models.sft.objective import Objective, collate
from models.sft.start import load_start, start_lora
from models.sft.state import goes_on_from

_LOG_SECONDS = 2.0
"""At most so often a line of metrics is written."""

_ANSWERED = 4
"""Times as many tokens as in a batch that is learned from: without gradients they take less memory, and few would keep
no processor busy."""

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors")


class Stopped(Exception):
    """The training was told to stop."""


class Training:
    """A training in a job directory, ready to run: from its beginning, or from its last whole checkpoint.

    Args:
        began: when this process began, on the clock of `monotonic`; None for now.

    Raises:
        ModelError: the job, its data or its base cannot be used.
    """

    def __init__(self, folder: Path, began: float | None = None) -> None:
        self._folder = folder
        self._began = monotonic() if began is None else began
        self._job = read_job(folder / JOB)
        job = self._job
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
        check_trainable({**lora.to_dict(), "peft_type": "LORA"})
        self._accelerator = Accelerator(
            # Said in so many words, or several processes would not find each other on processors.
            cpu=not torch.accelerator.is_available(),
            mixed_precision="bf16" if _is_bfloat16(job.precision) else "no",
        )
        torch.manual_seed(job.seed)
        # It would make a plan for each shape of a batch, which takes longer than the step, and each batch has its own.
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
        if _is_bfloat16(job.precision):
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
            self._say(f"beginning from {job.start.name}")
            load_start(model, folder, job.start)
        if job.recompute:
            base.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._model = model
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            self._trained, lr=job.optimizer.learning_rate, weight_decay=job.optimizer.weight_decay, betas=(0.9, 0.98)
        )
        self._objective, self._optimizer = self._accelerator.prepare(Objective(model), optimizer)
        self._progress = TrainingProgress()
        self._told_to_stop = False
        # Of the steps since the last line of metrics: the sum of the losses, and over how many tokens.
        self._lost, self._learned = 0.0, 0
        self._logs = True

    def run(self) -> None:
        """Train, and leave the best adapter in the folder `adapter`.

        Raises:
            Stopped: by SIGTERM; a checkpoint of the last step is there, if it could be written.
            ModelError: the loss is no number any more, or a checkpoint cannot be used.
        """
        signal.signal(signal.SIGTERM, self._stop)
        checkpoints = self._folder / FOLDER
        if (last := self._last_whole(checkpoints)) is not None:
            self._progress = load_checkpoint(last, self._optimizer, self._model)
            self._say(f"going on from step {self._progress.step:,}")
        if self._is_main:
            forget_metrics(self._folder, self._progress.step, judges_anew=self._progress.is_unjudged)
        if self._vocabulary.chat_template() is None:
            self._say(
                "the base has no chat template: a prompt is its messages as paragraphs, and so it has to be asked"
            )
        for examples, what in ((self._train, TRAIN), (self._valid, VALID)):
            if examples is not None and examples.skipped:
                self._say(
                    f"{what}: {examples.skipped:,} examples are longer than {self._longest:,} tokens, and skipped"
                )
        self._objective.train()
        self._all_epochs()
        self._accelerator.wait_for_everyone()
        if self._is_main:
            self._finish(checkpoints)

    def _last_whole(self, checkpoints: Path) -> Path | None:
        """The checkpoint to go on from; what is damaged behind it is dropped, and will be written anew.

        Raises:
            ModelError: there are some, and all are damaged.
        """
        whole, damaged = whole_checkpoints(checkpoints), damaged_checkpoints(checkpoints)
        if damaged and not whole:
            path, problem = max(damaged.items())
            raise ModelError(
                f"{path}: it is damaged ({problem}), and there is no other; delete {checkpoints} to begin anew"
            )
        # All processes have looked before any file goes.
        self._accelerator.wait_for_everyone()
        for path, problem in damaged.items():
            self._say(f"{path.name} is damaged ({problem}), and dropped")
            if self._is_main:
                shutil.rmtree(path, ignore_errors=True)
        return whole[-1] if whole else None

    def _all_epochs(self) -> None:
        job, progress = self._job, self._progress
        lengths = [len(self._steps_of(epoch)) for epoch in range(job.epochs)]
        total = sum(lengths)
        clock = self._clock = _Clock(progress, total)
        self._start_seconds = monotonic() - self._began
        first = 0
        for epoch, length in enumerate(lengths):
            evaluate_at = spread(length, job.evaluations)
            save_at = spread(length, job.checkpoints)
            for number, step in enumerate(self._steps_of(epoch), start=1):
                if first + number < progress.step or (first + number == progress.step and not progress.is_unjudged):
                    continue
                is_stopping = improved = False
                if first + number > progress.step:
                    is_stopping = self._step(step, total, epoch, clock)
                    progress.is_unjudged = number in evaluate_at and self._valid is not None
                if progress.is_unjudged and self._valid is not None and not is_stopping:
                    is_stopping, improved = self._evaluate()
                enough = job.patience is not None and progress.since_best >= job.patience
                if number in save_at or improved or enough or is_stopping:
                    self._save()
                if is_stopping:
                    raise Stopped(f"stopped at step {progress.step:,}; {goes_on_from(self._folder)}")
                if enough:
                    self._say(f"no evaluation was better than that of step {(progress.best or (0, 0))[1]:,}; enough")
                    return
            first += length

    def _steps_of(self, epoch: int) -> list[list[list[Example]]]:
        """The batches of an epoch in an order by chance, so many together as all processes take in a step."""
        found = batches(self._train.of_epoch(epoch), self._job.batch_tokens)
        random.Random(f"{self._job.seed} {epoch}").shuffle(found)
        together = self._job.optimizer.accumulate * self._accelerator.num_processes
        return [found[start : start + together] for start in range(0, len(found), together)]

    def _step(self, step: Sequence[Sequence[Example]], total: int, epoch: int, clock: "_Clock") -> bool:
        """One change of the weights, by the mean loss over all answers of the batches; whether to stop behind it."""
        accelerator, progress = self._accelerator, self._progress
        rate = self._rate(progress.step, total)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        learned = sum(example.learned for batch in step for example in batch)
        mine = step[accelerator.process_index :: accelerator.num_processes]
        sum_of_losses = torch.zeros((), device=accelerator.device)
        # Every process goes as often backward, or they would wait for each other: where one has no batch left, it takes
        # one of the others and does not count it.
        rounds = -(-len(step) // accelerator.num_processes)
        for number in range(rounds):
            batch, counts = (mine[number], 1) if number < len(mine) else (step[0], 0)
            is_last = number == rounds - 1
            with nullcontext() if is_last else accelerator.no_sync(self._objective):
                lost = self._objective(collate(batch).to(accelerator.device)) * counts
                # Processes are averaged over, and the loss is a mean over all of them.
                accelerator.backward(lost * accelerator.num_processes / learned)
            sum_of_losses += lost.detach()
            beat(self._folder)
        # Processes that are told to stop at different steps agree on one.
        told = torch.tensor(float(self._told_to_stop), device=accelerator.device)
        sums = accelerator.reduce(torch.stack([sum_of_losses, told]))
        loss, is_stopping = float(sums[0]), bool(sums[1] > 0)
        norm = accelerator.clip_grad_norm_(self._trained, self._job.optimizer.clip)
        if not math.isfinite(loss) and not progress.step:
            # Nothing has been learned yet that could have led there.
            raise ModelError(not_finite(self._job.base))
        if not math.isfinite(loss) or not math.isfinite(float(norm)):
            is_kept = bool(whole_checkpoints(self._folder / FOLDER))
            kept = "the last checkpoint is from before" if is_kept else "no checkpoint was written yet"
            raise ModelError(
                f"the loss is no number any more at step {progress.step + 1:,}; lower optimizer.learning_rate "
                f"(--learning-rate, now {self._job.optimizer.learning_rate:g}); {kept}"
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        progress.step += 1
        progress.tokens += sum(example.length for batch in step for example in batch)
        self._lost += loss
        self._learned += learned
        if self._is_main and clock.is_time(progress):
            mean = self._lost / self._learned
            self._log(
                {
                    "step": progress.step,
                    "steps": total,
                    "epoch": epoch,
                    "loss": mean,
                    "lr": rate,
                    "tokens": progress.tokens,
                    "tokens_per_second": clock.speed,
                    "step_tokens_per_second": clock.pace,
                    "start_seconds": self._start_seconds,
                    "device": _device_name(accelerator.device),
                    "machine": gethostname(),
                    "peak_memory_bytes": _peak_memory(accelerator.device),
                    "eta_seconds": clock.left,
                    "skipped": sum(each.skipped for each in (self._train, self._valid) if each is not None),
                },
            )
            self._say(f"step {progress.step:,} of {total:,}: loss {mean:.4f}, {clock.speed:,.0f} tokens/s")
            self._lost, self._learned = 0.0, 0
        return is_stopping

    def _rate(self, step: int, total: int) -> float:
        """Up in a line, and down in half a cosine (Loshchilov and Hutter, 2017)."""
        settings = self._job.optimizer
        rising = settings.warmup * total
        if step < rising:
            return settings.learning_rate * (step + 1) / (rising + 1)
        done = (step - rising) / max(total - rising, 1)
        return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2

    def _evaluate(self) -> tuple[bool, bool]:
        """Evaluate, and say whether to stop, and whether that is the best so far.

        All processes do the same, and so agree. Where one is told to stop meanwhile, the evaluation counts for none of
        them: it is done anew when the training goes on.
        """
        assert self._valid is not None
        progress = self._progress
        began = monotonic()
        self._objective.eval()
        found = None
        with suppress(Stopped):
            found = evaluate(
                self._accelerator.unwrap_model(self._objective),
                self._valid.usable,
                self._vocabulary,
                self._job.batch_tokens,
                self._accelerator.device,
                between=self._between,
            )
        self._objective.train()
        told = torch.tensor(float(found is None), device=self._accelerator.device)
        is_stopping = float(self._accelerator.reduce(told)) > 0
        if found is None or is_stopping:
            return True, False
        if not math.isfinite(found.loss):
            raise ModelError(
                f"the loss on the validation examples is no number any more at step {progress.step:,}; lower "
                f"optimizer.learning_rate (--learning-rate, now {self._job.optimizer.learning_rate:g})"
            )
        seconds = monotonic() - began
        self._clock.leave_out(seconds)
        progress.is_unjudged = False
        improved = progress.best is None or found.value > progress.best[0]
        if improved:
            progress.best, progress.since_best = (found.value, progress.step), 0
        else:
            progress.since_best += 1
        if self._is_main:
            line: dict[str, Any] = {
                "step": progress.step,
                "valid_loss": found.loss,
                "valid_seconds": seconds,
                "valid_tokens": sum(example.length for example in self._valid.usable),
            }
            if found.pair_f1 is not None:
                line["pair_f1"] = found.pair_f1
            self._log(line)
            self._say(_told(progress.step, found))
        return False, improved

    def _between(self) -> None:
        """Between two parts of an evaluation."""
        beat(self._folder)
        if self._told_to_stop:
            raise Stopped(f"stopped at step {self._progress.step:,}; {goes_on_from(self._folder)}")

    def _log(self, values: dict[str, Any]) -> None:
        """Add a line of metrics; a training is worth more than that, and goes on where there is no room for it."""
        try:
            add_metrics(self._folder, values)
        except OSError as error:
            if self._logs:
                self._say(f"metrics cannot be written ({error.strerror}); the training goes on without")
            self._logs = False

    def _save(self) -> None:
        if not self._is_main:
            return
        try:
            save_checkpoint(self._folder / FOLDER, self._progress, self._optimizer, self._save_adapter)
        except OSError as error:
            # The training is worth more than this checkpoint; the next one may have room.
            self._say(f"the checkpoint of step {self._progress.step:,} cannot be written ({error.strerror})")

    def _save_adapter(self, folder: Path) -> None:
        # Tokens are never added: PEFT would look at the base for that, and write a warning where that is a GGUF file.
        self._model.save_pretrained(folder, save_embedding_layers=False)
        config = self._model.get_base_model().config
        (folder / BASE_CONFIG).write_text(config.to_json_string(use_diff=False), encoding="utf-8")

    def _finish(self, checkpoints: Path) -> None:
        """The adapter of the best evaluation, or of the last step where there was none, with its manifest."""
        self._save()
        best = checkpoint_of(checkpoints, self._progress.best[1]) if self._progress.best else None
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
            # A rename needs no room on the disk, and what only a checkpoint needs makes room for the manifest.
            shutil.rmtree(part, ignore_errors=True)
            source.rename(target)
            drop_resumption(target)
            self._say(f"the adapter is the folder of a checkpoint, which cannot be copied ({error.strerror})")
            self._write_manifest(target, step_of(source))

    def _write_answers(self, adapter: Path) -> None:
        """What the model answers to the validation examples with this adapter, and what it answered before."""
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
        return answers_to(
            self._accelerator.unwrap_model(self._objective),
            self._valid.usable,
            self._vocabulary,
            _ANSWERED * self._job.batch_tokens,
            self._accelerator.device,
            between=self._between,
        )

    def _write_manifest(self, adapter: Path, step: int) -> None:
        """What is to be known of the adapter of a step, beside what the job says."""
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
        if self._is_main and not self._told_to_stop:
            # Python may be in the middle of a print.
            with suppress(OSError):
                os.write(2, b"told to stop: finishing the step, then writing a checkpoint\n")
        self._told_to_stop = True

    @property
    def _is_main(self) -> bool:
        return bool(self._accelerator.is_main_process)

    def _say(self, text: str) -> None:
        # The log may be on a disk that is full.
        if self._is_main:
            with suppress(OSError):
                print(text, file=sys.stderr, flush=True)


class _Clock:
    """How fast it goes, and how long it will take."""

    def __init__(self, progress: TrainingProgress, total: int) -> None:
        self._started = self._logged = monotonic()
        self._first = progress.step
        self._tokens = progress.tokens
        self._total = total
        self.speed = 0.0
        """Tokens per second since this trainer began."""
        self.pace = 0.0
        """The same in steps alone: what evaluations take is left out."""
        self.left = 0.0
        """Seconds that the rest will take at this speed."""
        self._left_out = 0.0

    def leave_out(self, seconds: float) -> None:
        """An evaluation has taken so long."""
        self._left_out += seconds

    def is_time(self, progress: TrainingProgress) -> bool:
        """Whether metrics are to be written: not too often, and at the last step."""
        now = monotonic()
        is_last = progress.step == self._total
        if now - self._logged < _LOG_SECONDS and not is_last:
            return False
        self._logged = now
        seconds = max(now - self._started, 1e-9)
        self.speed = (progress.tokens - self._tokens) / seconds
        self.pace = (progress.tokens - self._tokens) / max(seconds - self._left_out, 1e-9)
        self.left = seconds / (progress.step - self._first) * (self._total - progress.step)
        return True


def _is_bfloat16(precision: Precision) -> bool:
    if precision == "auto":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())
    return precision == "bfloat16"


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU where there is one, otherwise of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    # In KB on Linux, and in bytes on a Mac.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _device_name(device: torch.device) -> str:
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else device.type


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _told(step: int, found: ValidationScores) -> str:
    quality = "" if found.pair_f1 is None else f", pair F1 {found.pair_f1:.4f}"
    return f"evaluation at step {step:,}: loss {found.loss:.4f}{quality}"
