from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments
from transformers.modeling_outputs import TokenClassifierOutput

from sparsify.tasks.token_classification.loss import token_loss
from tests.helpers.models import examples, tiny_classifier


def outputs(seed: int = 0, size: int = 3) -> tuple[TokenClassifierOutput, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, 5, 4, generator=generator)
    labels = torch.randint(0, 4, (size, 5), generator=generator)
    labels[:, 3:] = -100
    return TokenClassifierOutput(logits=logits), labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_sum_is_divided_by_the_items_of_the_step(smoothing: float) -> None:
    out, labels = outputs()
    kept = labels != -100
    each = F.cross_entropy(out.logits[kept], labels[kept], reduction="sum", label_smoothing=smoothing)
    loss = token_loss(smoothing)
    torch.testing.assert_close(loss(out, labels, num_items_in_batch=torch.tensor(30)), each / 30)
    torch.testing.assert_close(loss(out, labels), each / kept.sum())


def test_parts_of_a_step_add_up_to_the_whole() -> None:
    out, labels = outputs(size=4)
    labels[0, 1:] = -100
    items = (labels != -100).sum()
    parts = [
        token_loss()(TokenClassifierOutput(logits=out.logits[i : i + 2]), labels[i : i + 2], num_items_in_batch=items)
        for i in (0, 2)
    ]
    torch.testing.assert_close(sum(parts), token_loss()(out, labels))


def test_nothing_counted_is_zero_not_nan() -> None:
    out, labels = outputs()
    ignored = torch.full_like(labels, -100)
    assert token_loss()(out, ignored).item() == 0.0
    assert token_loss()(out, ignored, num_items_in_batch=torch.tensor(0)).item() == 0.0


def test_data_parallel_repeats_the_number_once_per_device() -> None:
    out, labels = outputs()
    once = token_loss()(out, labels, num_items_in_batch=torch.tensor(9))
    # the Trainer multiplies by the number of devices afterwards
    torch.testing.assert_close(token_loss()(out, labels, num_items_in_batch=torch.tensor([[9], [9]])) * 2, once)


def train(tmp_path: Path, batch: int, accumulation: int, **options: Any) -> tuple[dict[str, torch.Tensor], float]:
    data = examples(16)
    for index, example in enumerate(data):  # sentences with few and with many labels
        example["labels"] = example["labels"].clone()
        example["labels"][index % 8 + 1 :] = -100
    args = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=1,
        learning_rate=0.1,
        optim="sgd",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        max_grad_norm=0.0,
        train_sampling_strategy="sequential",
        **options,
    )
    model = tiny_classifier(seed=1)
    trainer = Trainer(
        model=model, args=args, train_dataset=data, compute_loss_func=token_loss(args.label_smoothing_factor)
    )
    loss = trainer.train().training_loss
    return {name: value.detach().clone() for name, value in model.named_parameters()}, loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_accumulation_equals_a_batch_as_large(tmp_path: Path, smoothing: float) -> None:
    small, small_loss = train(tmp_path, 4, 2, label_smoothing_factor=smoothing)
    large, large_loss = train(tmp_path, 8, 1, label_smoothing_factor=smoothing)
    assert small_loss == pytest.approx(large_loss, rel=1e-4)
    for name, value in large.items():
        torch.testing.assert_close(small[name], value, rtol=1e-4, atol=1e-6)
