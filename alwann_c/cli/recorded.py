"""What the manifest beside a plan says of the files that the plan was made from."""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import dataclass
from pathlib import Path

from alwann_c.cli.parser import shape
from alwann_c.deploy import MANIFEST, read_manifest
from alwann_c.errors import InputError


@dataclass(frozen=True)
class Recorded:
    """The model's file, how it was loaded, and the calibration data; None where nothing is said."""

    model: str | None = None
    input_shape: tuple[int, ...] | None = None
    output: str | None = None
    params: str | None = None
    calibration: str | None = None


def recorded_beside(plan: Path) -> Recorded:
    """What the manifest in the plan's folder says; nothing where there is none.

    Raises InputError where it is damaged or altered.
    """
    path = plan.parent / MANIFEST
    if not path.exists():
        return Recorded()
    manifest = read_manifest(path)
    model, calibration = manifest.model, manifest.data.get("calibration")
    try:
        given = shape(model["input_shape"]) if "input_shape" in model else None
    except ArgumentTypeError as e:
        raise InputError(f"{path}: model.input_shape: {e}; compile it again") from e
    return Recorded(
        model=model.get("path") or None,
        input_shape=given,
        output=model.get("output"),
        params=model.get("params"),
        calibration=None if calibration is None else calibration.path,
    )
