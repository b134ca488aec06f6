"""Pictures of multipliers and libraries, drawn by matplotlib (extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alwann_c.atomic import replacing
from alwann_c.errors import InputError
from alwann_c.operand_shares import OperandShares
from alwann_c.targets import Multiplier, operand_values
from alwann_c.targets.characterise import error_matrix

SUFFIXES = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Raises InputError where no picture can be drawn to `path`."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: give a name ending in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: no such folder: make it first")
    try:
        import matplotlib  # noqa: F401
    except ImportError as e:
        raise InputError("--plot: needs matplotlib: pip install 'alwann-c[plot]'") from e


def _figure(columns: int) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * columns, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(1, columns, i + 1) for i in range(columns)]


def _save(figure: Any, path: Path) -> None:
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=120, metadata={} if path.suffix == ".png" else None)
    except OSError as e:
        raise InputError(f"{path}: cannot write: {e.strerror or e}") from e


def plot_multiplier(multiplier: Multiplier, path: Path, shares: OperandShares | None) -> None:
    """The error surface; with `shares` also its profile over activation codes, as a network sees it."""
    side = 1 << multiplier.bits
    values = operand_values(signed=multiplier.signed, bits=multiplier.bits)[:side]
    order = np.argsort(values)
    error = error_matrix(multiplier)[np.ix_(order, order)]
    axis = values[order]
    figure, axes = _figure(1 if shares is None else 2)
    limit = max(1, int(np.abs(error).max()))
    image = axes[0].imshow(
        error, cmap="RdBu_r", vmin=-limit, vmax=limit, origin="lower", interpolation="nearest",
        extent=(axis[0] - 0.5, axis[-1] + 0.5, axis[0] - 0.5, axis[-1] + 0.5),
    )  # fmt: skip
    axes[0].set(title=f"{multiplier.name}: M(a, w) − a·w", xlabel="weight w", ylabel="activation a")
    figure.colorbar(image, ax=axes[0])
    if shares is not None:
        weights = shares.weights[order] / shares.weights.sum()
        mean = error @ weights
        deviation = np.sqrt(np.maximum((error.astype(float) ** 2) @ weights - mean**2, 0))
        axes[1].fill_between(
            axis, mean - deviation, mean + deviation, alpha=0.25, label="± deviation over weights"
        )
        axes[1].plot(axis, mean, label="mean over measured weights")
        axes[1].set(title="error as the network sees it", xlabel="activation a", ylabel="error")
        twin = axes[1].twinx()
        used = shares.activations[order] > 0
        twin.semilogy(axis[used], shares.activations[order][used], color="0.5", lw=0.8)
        twin.set_ylabel("share of multiplications (grey)")
        axes[1].legend(loc="upper left", fontsize=8)
    _save(figure, path)


def plot_library(multipliers: Sequence[tuple[Multiplier, float]], path: Path) -> None:
    """Mean error over relative power of (multiplier, relative power), the front joined by a line."""
    figure, axes = _figure(1)
    for signed in sorted({m.signed for m, _ in multipliers}):
        points = sorted((p, m.mae) for m, p in multipliers if m.signed == signed)
        label = "signed" if signed else "unsigned"
        (drawn,) = axes[0].plot(*zip(*points, strict=True), "o", ms=3.5, label=label)
        front, least = [], float("inf")
        for power, mae in points:
            if mae < least:
                front.append((power, mae))
                least = mae
        axes[0].plot(
            *zip(*front, strict=True), "-", lw=0.8, color=drawn.get_color(), drawstyle="steps-post"
        )
    axes[0].set_yscale("symlog", linthresh=0.1)
    axes[0].set(xlabel="power, exact multiplier = 1", ylabel="mean absolute error")
    axes[0].grid(alpha=0.3)
    axes[0].legend()
    _save(figure, path)
