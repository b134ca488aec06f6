"""Train the ResNet-8 that ships with alwann-c, and export it to ONNX with its batch norms.

Training keeps an exponential moving average of the weights, and that average is what is exported.
The test images are only ever used to report. A run that is killed goes on from its last epoch when
it is started again with the same options.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import ExportError, ResNet8, export_onnx
from prepare_data import write_atomically
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

CROP_MARGIN = 3
EVALUATION_BATCH = 500


class TrainingError(Exception):
    """The data, the checkpoint or the exported model is not what it has to be."""


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the trained weights, besides the data and the torch version."""

    epochs: int
    batch_size: int
    peak_lr: float
    weight_decay: float
    momentum: float
    ema_decay: float
    seed: int


@dataclass(frozen=True)
class Split:
    """Images (n, 32, 32, 3) uint8 and labels (n,) int64."""

    images: Tensor
    labels: Tensor


def load_split(path: Path) -> Split:
    """Read a ``.npz`` that prepare_data.py wrote."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, KeyError, ValueError) as error:
        raise TrainingError(f"{path}: {error}; write it with prepare_data.py") from error
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3):
        raise TrainingError(f"{path}: images are {images.dtype} {images.shape}, not uint8 NHWC")
    return Split(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))


def to_network(images: Tensor) -> Tensor:
    """(n, 32, 32, 3) uint8 to (n, 3, 32, 32) float in channels-last memory; values stay 0..255."""
    return images.permute(0, 3, 1, 2).float()


class Augmenter:
    """Random 32x32 crops of the reflected surroundings, mirrored half of the time.

    One gather per batch: every image has its own rows and columns.
    """

    def __init__(self, images: Tensor, generator: torch.Generator) -> None:
        margins = ((0, 0), (CROP_MARGIN, CROP_MARGIN), (CROP_MARGIN, CROP_MARGIN), (0, 0))
        self.padded = torch.from_numpy(np.pad(images.numpy(), margins, mode="reflect"))
        self.generator = generator

    def batch(self, indices: Tensor) -> Tensor:
        """Augmented network inputs, (len(indices), 3, 32, 32) float."""
        n = len(indices)
        shifts = torch.randint(0, 2 * CROP_MARGIN + 1, (2, n, 1), generator=self.generator)
        mirrored = torch.rand(n, 1, generator=self.generator) < 0.5
        steps = torch.arange(32)
        rows = shifts[0] + steps
        columns = shifts[1] + torch.where(mirrored, 31 - steps, steps)
        crop = self.padded[indices[:, None, None], rows[:, :, None], columns[:, None, :]]
        return to_network(crop)


def pixel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel, (3,) each, rounded to 1/1000."""
    pixels = images.reshape(-1, 3).double()
    return pixels.mean(0).round(decimals=3).float(), pixels.std(0).round(decimals=3).float()


def accuracy(model: nn.Module, split: Split) -> float:
    """Top-1 accuracy of the model in evaluation mode."""
    model.eval()
    correct = 0
    for images, labels in zip(
        split.images.split(EVALUATION_BATCH), split.labels.split(EVALUATION_BATCH), strict=True
    ):
        with torch.no_grad():
            correct += int((model(to_network(images)).argmax(1) == labels).sum())
    return correct / len(split.labels)


class Trainer:
    """One training run: the model, its moving average, and the state to go on from."""

    def __init__(self, recipe: Recipe, train: Split, compiled: bool = False) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.train = recipe, train
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.augmenter = Augmenter(train.images, self.generator)
        self.model = ResNet8(*pixel_statistics(train.images)).to(memory_format=torch.channels_last)
        self.forward = torch.compile(self.model) if compiled else self.model
        self.average = AveragedModel(
            self.model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True
        )
        weights = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.SGD(
            [
                {"params": weights, "weight_decay": recipe.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=recipe.peak_lr,
            momentum=recipe.momentum,
            nesterov=True,
        )
        self.steps = len(train.labels) // recipe.batch_size
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            recipe.peak_lr,
            total_steps=self.steps * recipe.epochs + 1,
            pct_start=0.15,
            div_factor=10.0,
            final_div_factor=1000.0,
            cycle_momentum=False,
        )
        self.epoch = 0
        self.seconds = 0.0

    def run_epoch(self) -> float:
        """Train one epoch; the mean loss."""
        started = time.perf_counter()
        self.model.train()
        order = torch.randperm(len(self.train.labels), generator=self.generator)
        total = torch.zeros(())
        for step in range(self.steps):
            indices = order[step * self.recipe.batch_size : (step + 1) * self.recipe.batch_size]
            logits = self.forward(self.augmenter.batch(indices))
            loss = nn.functional.cross_entropy(logits, self.train.labels[indices])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.average.update_parameters(self.model)
            total += loss.detach()
        self.epoch += 1
        self.seconds += time.perf_counter() - started
        return float(total) / self.steps

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "recipe": asdict(self.recipe),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; raises TrainingError when it is of another recipe."""
        if state["recipe"] != asdict(self.recipe):
            raise TrainingError(f"the checkpoint is of another run, {json.dumps(state['recipe'])}")
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, without running any code that might be in it."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise TrainingError(f"{path}: not a checkpoint of this script") from error
    return state


def train_or_resume(trainer: Trainer, test: Split, checkpoint: Path) -> None:
    """Train to the last epoch, with a checkpoint after each one."""
    if checkpoint.exists():
        trainer.restore(load_checkpoint(checkpoint))
        log(f"going on from {checkpoint}, epoch {trainer.epoch}")
    while trainer.epoch < trainer.recipe.epochs:
        loss = trainer.run_epoch()
        buffer = io.BytesIO()
        torch.save(trainer.state(), buffer)
        write_atomically(checkpoint, buffer.getvalue())
        message = f"epoch {trainer.epoch:3d}  loss {loss:.4f}  {trainer.seconds:7.1f} s"
        if trainer.epoch % 5 == 0 or trainer.epoch == trainer.recipe.epochs:
            message += f"  test {accuracy(trainer.model, test):.4f}"
            message += f"  average {accuracy(trainer.average.module, test):.4f}"
        log(message)


def log(message: str) -> None:
    """Progress goes to stderr."""
    print(message, file=sys.stderr, flush=True)


def onnx_accuracy(path: Path, split: Split) -> float:
    """Top-1 accuracy of an exported model under ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    correct = 0
    for images, labels in zip(
        split.images.split(EVALUATION_BATCH), split.labels.split(EVALUATION_BATCH), strict=True
    ):
        (logits,) = session.run(["logits"], {"image": to_network(images).contiguous().numpy()})
        correct += int((logits.argmax(1) == labels.numpy()).sum())
    return correct / len(split.labels)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Train ResNet-8 on CIFAR-10 and export it to ONNX.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"), help="folder with train.npz and test.npz")
    add("-o", "--output", type=Path, default=Path("resnet8_cifar10.onnx"), help="exported model")
    add("--checkpoint", type=Path, default=Path("resnet8_cifar10.pt"), help="resumed if it exists")
    add("--epochs", type=int, default=70)
    add("--batch-size", type=int, default=128)
    add("--peak-lr", type=float, default=0.2, help="at 15 %% of the one-cycle schedule")
    add("--weight-decay", type=float, default=2e-4, help="of convolutions and the dense layer")
    add("--momentum", type=float, default=0.9)
    add("--ema-decay", type=float, default=0.998, help="of the weight average, per step")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--compile", action="store_true", help="torch.compile the step (needs a C++ compiler)")
    add("--verify", action="store_true", help="only measure OUTPUT on the test images")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Train, export and verify; 0 on success, 2 with one line on bad input."""
    options = parse(arguments)
    recipe = Recipe(
        epochs=options.epochs,
        batch_size=options.batch_size,
        peak_lr=options.peak_lr,
        weight_decay=options.weight_decay,
        momentum=options.momentum,
        ema_decay=options.ema_decay,
        seed=options.seed,
    )
    torch.set_num_threads(options.threads)
    try:
        test = load_split(options.data / "test.npz")
        if not options.verify:
            trainer = Trainer(recipe, load_split(options.data / "train.npz"), options.compile)
            train_or_resume(trainer, test, options.checkpoint)
            exported = export_onnx(trainer.average.module, asdict(recipe))
            write_atomically(options.output, exported)
        measured = onnx_accuracy(options.output, test)
    except (TrainingError, ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: top-1 {measured:.4f} on {len(test.labels):,} test images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
