"""Compare fronts of `compile` with the published ones: one picture, hypervolumes, domination.

    python tools/compare_front.py OUT… --published FILE.json [--network resnet8] [--units 4]
        [--worst-drop 0.05] [-o picture.svg] [--json]

OUT: folders that `compile` wrote. FILE has `fronts`, a list of {network, units, exact_accuracy, points:
[{accuracy, mean_power_mw}]}, see docs/reproduce.md; the power of the exact
multiplier is `--exact-mw`.

What is compared: relative multiplication energy, and the accuracy lost against the *exact integer
network on the same images*, which is what the published figures are against too. Ours are those of
the test data, which chose nothing, where the folder has them. An accuracy above the exact one is
luck, and counts as no loss. The hypervolume is the share of the rectangle energy 0..1, loss
0..worst-drop that a front dominates.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alwann_c.atomic import replacing, write_text
from alwann_c.errors import InputError
from alwann_c.report.charts import PAPER, SCHEMA, config
from alwann_c.report.vega import to_png, to_svg

EXACT_MW = 0.391
"""Power of mul8u_1JFF, exact, in EvoApproxLib."""

Point = tuple[float, float]
"""Relative energy, loss."""


@dataclass(frozen=True)
class Front:
    """Plans of one search; losses against the exact integer network, 0 at least."""

    name: str
    points: list[Point]


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise InputError(f"{path}: cannot read: {e.strerror or e}") from e
    except ValueError as e:
        raise InputError(f"{path}: no JSON: {e}; give the file as it was written") from e
    if not isinstance(found, dict):
        raise InputError(f"{path}: an object is expected, found {type(found).__name__}")
    return found


def own_front(folder: Path) -> Front:
    """The front of an output folder: all its plans on the test data, or on the search data."""
    path = folder / "front.json" if folder.is_dir() else folder
    document = _object(path)
    try:
        points, int8 = document["front"], document["int8_accuracy"]
        tested = int8["test"] is not None
        key, exact = ("test_accuracy", int8["test"]) if tested else ("accuracy", int8["search"])
        found = [(p["relative_energy"], max(exact - p[key], 0.0)) for p in points]
        images = document["data"]["test" if tested else "search"]["images"]
        name = f"{document['model']['name']} on {document['target']}, {images} images"
    except (KeyError, TypeError) as e:
        raise InputError(f"{path}: no front.json of `compile` ({e}); give its folder") from e
    return Front(name, found)


def published_fronts(
    path: Path, network: str | None, units: int | None, exact_mw: float
) -> list[Front]:
    """The published fronts of a network and number of units; of all where None."""
    fronts = []
    known = []
    try:
        for entry in _object(path)["fronts"]:
            known.append(f"{entry['network']} on {entry['units']}")
            if network not in (None, entry["network"]) or units not in (None, entry["units"]):
                continue
            exact = entry["exact_accuracy"]
            points = [
                (p["mean_power_mw"] / exact_mw, max(exact - p["accuracy"], 0.0))
                for p in entry["points"]
            ]
            fronts.append(Front(f"published, {entry['network']} on {entry['units']} units", points))
    except (KeyError, TypeError) as e:
        raise InputError(f"{path}: not of the expected form ({e}); see --help") from e
    if not fronts:
        raise InputError(f"{path}: no such front: it has {', '.join(known)} units")
    return fronts


def staircase(points: Sequence[Point]) -> list[Point]:
    """The points no other beats, by rising energy."""
    kept: list[Point] = []
    for energy, loss in sorted(points):
        if not kept or loss < kept[-1][1]:
            kept.append((energy, loss))
    return kept


def hypervolume(points: Sequence[Point], worst: float) -> float:
    """Share of the rectangle [0, 1] x [0, worst] that is dominated."""
    area, ceiling = 0.0, worst
    for energy, loss in staircase(points):
        if energy < 1 and loss < ceiling:
            area += (1 - energy) * (ceiling - loss)
            ceiling = loss
    return area / worst


def undominated(theirs: Sequence[Point], ours: Sequence[Point], worst: float) -> list[Point]:
    """Their plans, of at most the worst loss, which none of ours equals or beats in both."""
    front = [p for p in staircase(theirs) if p[1] <= worst]
    return [p for p in front if not any(q[0] <= p[0] and q[1] <= p[1] for q in ours)]


def picture(fronts: Sequence[Front], worst: float) -> dict[str, Any]:
    """Energy against loss as a Vega-Lite specification, every front a staircase."""
    rows = [
        {"front": front.name, "energy": energy, "loss": 100 * loss}
        for front in fronts
        for energy, loss in staircase(front.points)
        if loss <= worst
    ]
    energy = {"field": "energy", "type": "quantitative", "scale": {"zero": False}}
    loss = {"field": "loss", "type": "quantitative", "scale": {"domain": [0, 100 * worst]}}
    encoding = {
        "x": {**energy, "title": "relative multiplication energy (exact = 1)"},
        "y": {**loss, "title": "accuracy lost against exact int8, points"},
        "color": {
            "field": "front",
            "type": "nominal",
            "title": None,
            "sort": [front.name for front in fronts],
            "scale": {"range": list(PAPER.units)},
            "legend": {"orient": "bottom", "columns": 1, "labelLimit": 600},
        },
    }
    return {
        "$schema": SCHEMA,
        "config": config(PAPER),
        "width": 620,
        "height": 360,
        "data": {"values": rows},
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "line", "interpolate": "step-after", "clip": True}},
            {"mark": {"type": "point", "filled": True, "size": 40, "clip": True}},
        ],
    }


def compare(ours: Sequence[Front], theirs: Sequence[Front], worst: float) -> dict[str, Any]:
    """Hypervolume of each front, and for each pair which of their plans are not dominated."""
    volumes = {front.name: hypervolume(front.points, worst) for front in [*ours, *theirs]}
    pairs = []
    for mine in ours:
        for other in theirs:
            left = undominated(other.points, mine.points, worst)
            plans = sum(loss <= worst for _, loss in staircase(other.points))
            pairs.append(
                {"ours": mine.name, "theirs": other.name, "plans": plans, "undominated": left}
            )
    return {"worst_drop": worst, "hypervolume": volumes, "pairs": pairs}


def _write(specification: dict[str, Any], path: Path) -> None:
    if path.suffix == ".svg":
        write_text(path, str(to_svg(specification)))
        return
    if path.suffix != ".png":
        raise InputError(f"{path}: give a name ending in .svg or .png")
    with replacing(path) as temporary:
        temporary.write_bytes(to_png(specification, 2))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUT")
    parser.add_argument("--published", type=Path, required=True, metavar="FILE")
    parser.add_argument("--network")
    parser.add_argument("--units", type=int)
    parser.add_argument("--exact-mw", type=float, default=EXACT_MW)
    parser.add_argument("--worst-drop", type=float, default=0.05)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    try:
        ours = [own_front(folder) for folder in given.folders]
        theirs = published_fronts(given.published, given.network, given.units, given.exact_mw)
        result = compare(ours, theirs, given.worst_drop)
        if given.output is not None:
            _write(picture([*ours, *theirs], given.worst_drop), given.output)
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps(result))
        return 0
    for name, volume in result["hypervolume"].items():
        print(f"hypervolume {volume:.3f}  {name}")
    for pair in result["pairs"]:
        beaten = pair["plans"] - len(pair["undominated"])
        print(f"{pair['ours']} dominates {beaten} of {pair['plans']} plans of {pair['theirs']}")
        for energy, loss in pair["undominated"]:
            print(f"  not: energy {energy:.3f}, loss {100 * loss:.2f} points")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
