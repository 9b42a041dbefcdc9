"""The training loop that the base and the adapters share."""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from palaver_adapters.training.data import Message
from palaver_adapters.training.tokenizer import encode_chat

__all__ = ["Schedule", "seed_everything", "train"]

log = logging.getLogger(__name__)

Row = tuple[list[int], list[int]]
"""Token ids, and labels of which -100 are not learned."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        steps: Optimiser steps.
        rate: The highest learning rate, reached after a tenth of the steps.
        batch: Rows in a step.
        width: Tokens in a row.
        long_every: Every so many steps a step has one long row instead.
        long_width: Tokens in a long row, as many as a real persona's prompt needs.
    """

    steps: int
    rate: float
    batch: int = 2
    width: int = 512
    long_every: int = 3
    long_width: int = 2048


def seed_everything(seed: int, *, threads: int) -> None:
    """Make a run repeatable on one kind of machine: other processors round differently."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    # Sums are split by thread, so the number of threads is part of the recipe.
    torch.set_num_threads(threads)


def train(
    model: Any, tokenizer: Any, draw: Callable[[bool], list[Message]], schedule: Schedule
) -> float:
    """Train a model in place.

    Args:
        model: A causal language model; only parameters that require a gradient are trained.
        tokenizer: Its tokenizer.
        draw: Returns the next chat, with a long system prompt if its argument is true.
        schedule: How long and how fast.

    Returns:
        The mean loss of the last tenth of the steps.
    """
    optimizers = _optimizers(model, schedule.rate)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    parameters = [parameter for group in groups for parameter in group["params"]]
    short = _rows(tokenizer, draw, schedule.width, long=False)
    wide = _rows(tokenizer, draw, schedule.long_width, long=True)
    losses: list[float] = []
    began = time.monotonic()
    model.train()
    for step in range(schedule.steps):
        is_long = step % schedule.long_every == schedule.long_every - 1
        rows = [next(wide)] if is_long else [next(short) for _ in range(schedule.batch)]
        for group in groups:
            group["lr"] = schedule.rate * _warmup_then_cosine(step, schedule.steps)
        loss = _loss(model, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        if step % 50 == 0 or step == schedule.steps - 1:
            log.info(
                "step %d of %d, loss %.3f, %.0f s",
                step + 1,
                schedule.steps,
                losses[-1],
                time.monotonic() - began,
            )
    model.eval()
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)


def _optimizers(model: Any, rate: float) -> list[torch.optim.Optimizer]:
    """Choose optimisers: Muon for the matrices within a whole model, AdamW for everything else.

    On this task Muon needs about a third of AdamW's steps (measured: a loss of 2.7 after 300
    steps, against 4.3). It is not made for embeddings, nor for LoRA's thin matrices.
    """
    inner: list[Any] = []
    others: list[Any] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_inner = parameter.ndim == 2 and "embed" not in name and "lora_" not in name
            (inner if is_inner else others).append(parameter)
    chosen: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    ]
    if inner:
        muon = torch.optim.Muon(inner, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        chosen.append(muon)
    return chosen


def _loss(model: Any, rows: list[Row]) -> torch.Tensor:
    ids = torch.tensor([row[0] for row in rows])
    labels = torch.tensor([row[1] for row in rows])[:, 1:]
    # Three times as fast on processors that multiply bfloat16; the weights stay float32.
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    learned = labels != -100
    return functional.cross_entropy(logits[learned].float(), labels[learned])


def _warmup_then_cosine(step: int, steps: int) -> float:
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _rows(
    tokenizer: Any, draw: Callable[[bool], list[Message]], width: int, *, long: bool
) -> Iterator[Row]:
    """Cut chats into rows: each begins with a chat, more follow until the row is full.

    A chat that follows another sees it, which is one more unfamiliar text to read past.
    """
    while True:
        ids: list[int] = []
        labels: list[int] = []
        while len(ids) < width:
            more_ids, more_labels = encode_chat(tokenizer, draw(long and not ids))
            ids += more_ids
            labels += more_labels
        if any(label != -100 for label in labels[1:width]):
            yield ids[:width], labels[:width]
