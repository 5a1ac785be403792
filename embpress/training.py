"""Fine-tune a checkpoint for classification, with transformers' Trainer."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
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
from .models import describe
from .tasks.classification import Examples

log = logging.getLogger(__name__)


class LogProgress(TrainerCallback):
    """Tells the log, about every 10 %, the step, the loss and the rate."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict | None = None, **_: Any
    ) -> None:
        """One line a Trainer log event."""
        if logs and "loss" in logs:
            log.info("step %d/%d, loss %.3f", state.global_step, state.max_steps, float(logs["loss"]))


def finetune(base: Path, examples: Examples, task: dict[str, Any], seed: int, folder: Path) -> None:
    """Train all weights of the checkpoint `base` with a new classification head, and save it to `folder`.

    AdamW with linear warm-up over a tenth of the steps and linear decay, gradients clipped to norm 1, batches of texts of
    similar length.

    Args:
        base: a described checkpoint.
        examples: training texts and labels.
        task: the task's config entry: `data.labels`, `max_length`, `finetune`.
        seed: seeds the new head, dropout and the order of examples.
        folder: where the fine-tuned checkpoint goes.
    """
    set_seed(seed)
    settings, labels = task["finetune"], task["data"]["labels"]
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=len(labels), id2label=dict(enumerate(labels)), dtype=torch.float32, local_files_only=True
    )
    encoded = tokenizer(examples.texts, truncation=True, max_length=task["max_length"])
    rows = [{**{k: v[i] for k, v in encoded.items()}, "labels": label} for i, label in enumerate(examples.labels)]
    steps = -(-len(rows) // settings["batch_size"]) * settings["epochs"]
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
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
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[LogProgress()],
        )
        for printer in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(printer)
        trainer.train()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    describe(model, tokenizer.all_special_ids, folder, card(base)["source"] | {"finetuned_on": len(rows), "seed": seed})
