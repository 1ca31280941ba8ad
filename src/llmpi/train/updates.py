"""Updates of a student's weights: AdamW, at a rate that rises and falls."""

import math
from typing import Any

import torch

from llmpi.study.training import Training
from llmpi.train.student import Student

OptimizerState = dict[str, Any]  # torch's own


def optimizer_of(student: Student, settings: Training) -> torch.optim.Optimizer:
    matrices = [w for w in student.parameters() if w.dim() > 1]
    norms = [w for w in student.parameters() if w.dim() == 1]
    groups: list[dict[str, Any]] = [  # as torch takes them
        {"params": matrices},
        {"params": norms, "weight_decay": 0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.95),
        fused=True,
    )


def update(
    student: Student, optimizer: torch.optim.Optimizer, settings: Training, number: int
) -> None:
    """Of a step of this number, counted from 0, whose gradients are there."""
    student.pass_gradients()
    torch.nn.utils.clip_grad_norm_(student.parameters(), settings.clip_norm, foreach=True)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * rate_share(number, settings)
    optimizer.step()
    student.quantize()


def rate_share(step: int, settings: Training) -> float:
    """Of the highest learning rate, in a step counted from 0: a linear rise, then half a cosine."""
    warmup = round(settings.steps * settings.warmup_share)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, settings.steps - 1 - warmup)
    low = settings.final_rate_share
    return low + (1 - low) * (1 + math.cos(math.pi * done)) / 2
