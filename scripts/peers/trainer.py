"""The recipe of many tutorials: the Trainer of transformers, and a frozen teacher.

alpha * CE + (1 - alpha) * T^2 * KL over the teacher's tags (Hinton et al. 2015), means
over labelled pieces; the teacher is asked anew at each step.
"""

import tempfile
import time

import torch
from classifier import IGNORED, prepare
from job import Job, run
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
)


class Distiller(Trainer):
    """teacher: its tags are the first of the student's, in the same order."""

    def __init__(self, teacher, alpha: float, temperature: float, **kwargs):
        super().__init__(**kwargs)
        self.teacher, self.alpha, self.temperature = teacher, alpha, temperature

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        with torch.no_grad():
            said = self.teacher(**inputs).logits
        is_labelled = labels != IGNORED
        logits, said = outputs.logits[is_labelled], said[is_labelled]
        old = logits[:, : said.shape[1]]
        kl = kl_div(
            log_softmax(old / self.temperature, dim=-1),
            log_softmax(said / self.temperature, dim=-1),
            reduction="batchmean",
            log_target=True,
        )
        hard = cross_entropy(logits, labels[is_labelled])
        loss = self.alpha * hard + (1 - self.alpha) * self.temperature**2 * kl
        return (loss, outputs) if return_outputs else loss


def work(job: Job) -> Job:
    student = prepare(job)
    teacher = AutoModelForTokenClassification.from_pretrained(job["checkpoint"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = Distiller(
            teacher.float().eval(),
            job["alpha"],
            job["temperature"],
            model=student.model,
            args=settings(job, folder),
            train_dataset=student.features,
            data_collator=DataCollatorForTokenClassification(student.tokenizer),
        )
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    student.save(job["output"])
    return {"seconds": seconds}


def settings(job: Job, folder: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=job["batch_size"],
        num_train_epochs=job["epochs"],
        learning_rate=job["rate"],
        warmup_ratio=0.1,
        weight_decay=0.01,
        seed=job["seed"],
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )


if __name__ == "__main__":
    run(work)
