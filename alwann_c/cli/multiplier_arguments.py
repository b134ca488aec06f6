"""The arguments of `multipliers list|show|import|evolve`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from alwann_c.cli.parser import Parser, positive


def bounds(text: str) -> list[float]:
    """Numbers of 0 or more, separated by commas."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [-1.0]
    if not all(0 <= value <= 1e12 for value in values):
        raise argparse.ArgumentTypeError(f"'{text}' is not numbers like 0.5,10,200")
    return values


def seconds(text: str) -> float:
    """Minutes as seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of minutes above 0")
    return 60 * value


def _network(command: Parser, what: str) -> None:
    group = command.add_argument_group("operands as a network has them")
    group.add_argument("--model", metavar="MODEL", help=what)
    group.add_argument("--calibration", metavar="D", help="unlabelled images for it")
    group.add_argument(
        "--layer", action="append", default=[], metavar="LAYER", help="only this layer, repeatable"
    )
    command.set_defaults(input_shape=None, model_output=None, params=None)


def add_multipliers(
    action: Callable[[str, str], Parser], libraries: Callable[[Parser], None]
) -> list[argparse.Action]:
    """Adds the four actions to the command `multipliers`; returns arguments that take the name of a
    multiplier."""
    listing = action("list", "every multiplier")
    listing.add_argument("--plot", metavar="FILE", help="power and error of all, .png, .svg, .pdf")
    libraries(listing)

    show = action("show", "one multiplier: errors, structure, figures and where they come from")
    named = show.add_argument("name", metavar="NAME", help="as `multipliers list` has it")
    show.add_argument("--plot", metavar="FILE", help="its error surface, .png, .svg, .pdf")
    _network(show, "also its errors and power on this network's operands")
    libraries(show)

    import_ = action("import", "circuits from tables, C functions, Verilog and BLIF into a library")
    import_.add_argument(
        "paths", nargs="+", metavar="PATH", help=".bin, .npy, .csv, .v, .sv, .blif, .c, or a folder"
    )
    import_.add_argument(
        "-o", "--output", required=True, metavar="LIBRARY", help="made or added to"
    )
    import_.add_argument("--name", help="of a new library; default: its folder's")
    import_.add_argument("--license", metavar="TEXT", help="of the circuits")
    import_.add_argument("--bits", type=positive, metavar="N", help="operand width, 2 to 8")
    sign = import_.add_mutually_exclusive_group()
    sign.add_argument(
        "--signed", action="store_true", default=None, help="two's complement operands"
    )
    sign.add_argument(
        "--unsigned",
        dest="signed",
        action="store_false",
        default=None,
        help="plain binary operands",
    )
    import_.add_argument("--swap", action="store_true", help="the second operand is the activation")
    import_.add_argument(
        "--allow-c", action="store_true", help="compile and run C files; only what you trust"
    )
    import_.add_argument(
        "--function", metavar="NAME", help="C function or Verilog module; default: as the file"
    )
    import_.add_argument("--liberty", metavar="FILE", help="cell library to take areas from")

    evolve = action("evolve", "circuits of least power within error bounds; goes on if run again")
    evolve.add_argument(
        "-o", "--output", required=True, metavar="LIBRARY", help="made, or gone on with"
    )
    evolve.add_argument("--name", help="of the library; default: its folder's")
    evolve.add_argument(
        "--bits", type=positive, default=8, metavar="N", help="operand width, 2 to 8"
    )
    evolve.add_argument("--signed", action="store_true", help="two's complement operands")
    evolve.add_argument(
        "--error", choices=("mae", "mse", "spread", "tuned", "wce"), default="mae",
        help="what is bounded: mean |e|, mean e^2, RMS of e less its mean of every weight code,"
        " the same with the best code for every weight, largest |e| (default mae)",
    )  # fmt: skip
    evolve.add_argument(
        "--bounds", type=bounds, metavar="LIST", help="bounds, one circuit each: 0.5,10,200"
    )
    evolve.add_argument("--rounds", type=positive, default=3, metavar="N", help="default 3")
    evolve.add_argument(
        "--evaluations", type=positive, default=1_000_000, metavar="N", help="a circuit and round"
    )
    evolve.add_argument("--workers", type=positive, default=1, metavar="N", help="processes")
    evolve.add_argument("--minutes", type=seconds, metavar="N", help="begin no circuit after these")
    evolve.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    _network(evolve, "errors and power under this network's operands")
    libraries(evolve)
    return [named]
