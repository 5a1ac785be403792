"""Fine-tune a checkpoint for a labelled task, with transformers' Trainer."""

import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    DataCollatorForMultipleChoice,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback

from .checkpoints import card
from .files import scratch_beside
from .models import AUTO_CLASSES, describe
from .tasks import LabelledTask
from .tasks.examples import Examples

log = logging.getLogger(__name__)


class LogProgress(TrainerCallback):
    """Tells the log, about every 10 %, the step, the loss and the rate."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict | None = None, **_: Any
    ) -> None:
        """One line a Trainer log event."""
        if logs and "loss" in logs:
            log.info("step %d/%d, loss %.3f", state.global_step, state.max_steps, float(logs["loss"]))


def finetune(base: Path, task: LabelledTask, seed: int, folder: Path) -> None:
    """Train all weights of the checkpoint `base` with a new head for a task, and save it to `folder`.

    AdamW with linear warm-up over a tenth of the steps and linear decay, gradients clipped to norm 1, batches of texts of
    similar length.

    Args:
        base: a described checkpoint.
        task: gives training examples, the head, and the config entry's `max_length` and `finetune`.
        seed: seeds the new head, dropout and the order of examples.
        folder: where the fine-tuned checkpoint goes; written whole or not at all.
    """
    set_seed(seed)
    settings = task.config["finetune"]
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    model = AUTO_CLASSES[task.head].from_pretrained(base, **task.head_options(), dtype=torch.float32, local_files_only=True)
    rows = training_rows(task.train, tokenizer, task.config["max_length"])
    steps = -(-len(rows) // settings["batch_size"]) * settings["epochs"]
    collator = DataCollatorForMultipleChoice if task.head == "multiple_choice" else DataCollatorWithPadding
    with scratch_beside(folder) as scratch:
        arguments = TrainingArguments(
            output_dir=str(scratch / "trainer"),
            num_train_epochs=settings["epochs"],
            per_device_train_batch_size=settings["batch_size"],
            learning_rate=settings["learning_rate"],
            warmup_steps=steps // 10,
            train_sampling_strategy="group_by_length",
            logging_steps=max(1, steps // 10),
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=seed,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,  # type: ignore[arg-type]
            data_collator=collator(tokenizer),
            callbacks=[LogProgress()],
        )
        for printer in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(printer)
        trainer.train()
        whole = scratch / "checkpoint"
        model.eval().save_pretrained(whole)
        tokenizer.save_pretrained(whole)
        describe(model, tokenizer.all_special_ids, whole, card(base)["source"] | {"finetuned_on": len(rows), "seed": seed})
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)


def training_rows(examples: Examples, tokenizer: PreTrainedTokenizerFast, max_length: int) -> list[dict[str, Any]]:
    """Tokenized examples with `labels`: ids (T,) of a text or pair each, or a list of them, one a choice."""
    encoded = tokenizer(examples.texts, examples.seconds, truncation=True, max_length=max_length)
    n = examples.choices
    rows = []
    for i, label in enumerate(examples.labels):
        inputs = {k: v[i] if n == 1 else v[i * n : (i + 1) * n] for k, v in encoded.items()}
        rows.append({**inputs, "labels": label})
    return rows
