"""The front as flat rows: for `front.csv`, pandas and anyone else who likes tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alwann_c.errors import InputError
from alwann_c.statistics import Drop

if TYPE_CHECKING:
    import pandas

    from alwann_c.search import FrontPoint

Record = dict[str, Any]
Point = dict[str, Any]
"""A point of the front as `front.json` holds it."""


def point_fields(point: FrontPoint) -> Point:
    """A point judged on the search data."""
    return {
        "accuracy": point.accuracy,
        **drop_fields(point.drop, ""),
        "divergence": point.divergence,
        "expected_drop": point.expected.mean,
        "expected_drop_bound": point.bound,
        "relative_energy": point.relative_energy,
        "assignment": point.assignment.to_dict(),
    }


def drop_fields(drop: Drop, prefix: str) -> Point:
    """A paired drop against float and its interval, under the names the files use."""
    return {f"{prefix}drop": drop.mean, f"{prefix}drop_ci95": list(drop.ci95)}


def front_records(
    points: Sequence[Mapping[str, Any]],
    units: Sequence[str],
    layers: Sequence[str],
    selected: int,
) -> list[Record]:
    """One row per point of a front, as in `front.json`, cheapest first.

    Columns: `point`, `selected`, figures, then `unit UNIT` and `layer LAYER`, each naming a
    multiplier. Figures of the test data are None where there is none, so are those a file of an
    earlier tool lacks.
    """
    rows = []
    for index, point in enumerate(points):
        low, high = point["drop_ci95"]
        test_low, test_high = point.get("test_drop_ci95") or (None, None)
        placed = point["assignment"]
        fitted = [placed["units"][unit] for unit in placed["layers"]]
        row: Record = {
            "point": index,
            "selected": index == selected,
            "relative_energy": point["relative_energy"],
            "accuracy": point["accuracy"],
            "drop": point["drop"],
            "drop_low": low,
            "drop_high": high,
            "divergence": point.get("divergence"),
            "expected_drop": point.get("expected_drop"),
            "expected_drop_bound": point.get("expected_drop_bound"),
            "test_accuracy": point.get("test_accuracy"),
            "test_drop": point.get("test_drop"),
            "test_drop_low": test_low,
            "test_drop_high": test_high,
        }
        row |= {f"unit {unit}": name for unit, name in zip(units, placed["units"], strict=True)}
        row |= {f"layer {layer}": name for layer, name in zip(layers, fitted, strict=True)}
        rows.append(row)
    return sorted(rows, key=lambda row: (row["relative_energy"], row["point"]))


def to_csv(records: Sequence[Record]) -> str:
    """RFC 4180 text with a header line; None is an empty field."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(records[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def to_frame(records: Sequence[Record]) -> pandas.DataFrame:
    """Rows as a pandas DataFrame. Raises InputError where pandas is not installed."""
    try:
        import pandas as pd
    except ImportError as e:
        raise InputError(
            "to_frame: pandas is not installed; `pip install pandas`, or use records()"
        ) from e
    return pd.DataFrame.from_records(list(records))
