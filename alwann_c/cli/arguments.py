"""The arguments of every command."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn, get_args

from alwann_c.cli.multiplier_arguments import add_multipliers
from alwann_c.passes.calibrate import Estimator
from alwann_c.passes.compensate import METHODS
from alwann_c.version import TOOL


class Parser(argparse.ArgumentParser):
    """Reports a bad command line in one `error:` line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """One line, exit 2."""
        print(f"error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def positive(text: str) -> int:
    """A whole number above zero."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return value


def share(text: str) -> float:
    """A number in 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number in 0..1")
    return value


def shape(text: str) -> tuple[int, ...]:
    """Sizes separated by commas."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not sizes like 3,224,224")
    return sizes


def _model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL")
    command.add_argument(
        "--input-shape", type=shape, metavar="C,H,W", help="of a model that leaves it open"
    )
    command.add_argument(
        "--model-output", metavar="NAME", help="output to keep; default: the first"
    )
    command.add_argument(
        "--params", metavar="FILE", help="of a Relay program; default: the .params beside it"
    )


def image_numbers(text: str) -> list[int]:
    """Numbers of images: `0,3,10-12`."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise argparse.ArgumentTypeError(f"'{text}' is not like 0,3,10-12")
        numbers += range(int(first), int(last or first) + 1)
    if not numbers:
        raise argparse.ArgumentTypeError(f"'{text}' names no image")
    return numbers


def _libraries(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--library",
        action="append",
        default=[],
        metavar="DIR",
        help="multiplier library, repeatable; default: the shipped one",
    )


def _exclusions(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--exclude", action="append", default=[], metavar="LAYER", help="keep a layer exact"
    )
    command.add_argument("--exclude-first", action="store_true", help="keep the first layer exact")
    command.add_argument("--exclude-last", action="store_true", help="keep the last layer exact")
    command.add_argument(
        "--approximate-dense", action="store_true", help="approximate dense layers too"
    )


def _effort(command: argparse.ArgumentParser, population: int, generations: int) -> None:
    command.add_argument("--population", type=positive, default=population, metavar="N")
    command.add_argument("--generations", type=positive, default=generations, metavar="N")
    command.add_argument("--seed", type=int, default=0, metavar="N")
    command.add_argument(
        "--search-images",
        type=positive,
        default=1000,
        metavar="N",
        help="search images a candidate is judged on; the front is judged on all (default 1000)",
    )


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser = Parser(
        prog="alwann-c",
        description="Approximate-multiplier accelerators for trained CNNs, without retraining.",
        epilog="example: alwann-c compile net.onnx --target power-gated-4 --calibration c.toml "
        "--search s.toml --test t.toml -o out",
    )
    parser.add_argument("--version", action="version", version=TOOL)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    demo = command("demo", "the main job on the shipped model, data, library and target")
    demo.add_argument("-o", "--output", default="demo-output", metavar="DIR")
    _effort(demo, 20, 6)

    inspect = command("inspect", "layers, shapes, MACs, approximable or why not")
    _model(inspect)
    inspect.add_argument(
        "--kernels", action="store_true", help="also the kernel that computes each layer here"
    )

    compile_ = command("compile", "model in; front, plan and deployed module out")
    _model(compile_)
    compile_.add_argument("--target", required=True, metavar="T", help="name or .toml file")
    compile_.add_argument("--calibration", required=True, metavar="D", help="unlabelled images")
    compile_.add_argument("--search", required=True, metavar="D", help="labelled, to choose with")
    compile_.add_argument("--test", metavar="D", help="labelled, to report on")
    compile_.add_argument("--max-drop", type=share, default=0.005, metavar="X")
    compile_.add_argument(
        "--device", default="cpu", help="cpu, 'llvm -mtriple=…', c, cuda[:sm_90], opencl"
    )
    where = compile_.add_mutually_exclusive_group()
    where.add_argument("--workers", type=positive, default=1, metavar="N", help="processes here")
    where.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler, tcp://host:port")
    compile_.add_argument("--resume", action="store_true", help="continue a search in DIR")
    compile_.add_argument("-o", "--output", required=True, metavar="DIR")
    _libraries(compile_)
    _exclusions(compile_)
    _effort(compile_, 50, 30)

    evaluate = command("evaluate", "accuracy of a uniform multiplier or of a plan")
    _model(evaluate)
    evaluate.add_argument("--calibration", required=True, metavar="D")
    evaluate.add_argument("--test", required=True, metavar="D")
    what = evaluate.add_mutually_exclusive_group()
    what.add_argument("--multiplier", metavar="NAME", help="on every approximable layer")
    what.add_argument("--plan", metavar="FILE")
    evaluate.add_argument("--compensation", choices=METHODS, default="full")
    evaluate.add_argument("--weights", choices=("per-channel", "per-tensor"), default="per-channel")
    evaluate.add_argument("--ranges", choices=get_args(Estimator), default="noise")
    evaluate.add_argument("--limit", type=positive, metavar="N", help="first N test images only")
    _libraries(evaluate)
    _exclusions(evaluate)

    run = command("run", "runs a deployed module; needs neither model nor search")
    run.add_argument("module", metavar="MODULE", help="module.so or its folder")
    run.add_argument("--data", metavar="D", help="images to run on")
    run.add_argument("-o", "--output", metavar="FILE.npy", help="write the outputs")
    run.add_argument("--self-test", action="store_true", help="compare with recorded outputs")
    run.add_argument("--rpc", metavar="HOST:PORT", help="run on this TVM RPC server")

    rtl = command("export-rtl", "arrays, golden vectors and SystemVerilog of a plan")
    rtl.add_argument("plan", metavar="PLAN", help="plan.json or the folder `compile` wrote")
    rtl.add_argument("--model", metavar="MODEL", help="default: as the manifest beside PLAN says")
    rtl.add_argument("--calibration", metavar="D", help="default: as the manifest says")
    rtl.add_argument("--data", metavar="D", help="golden images; default: the calibration data")
    rtl.add_argument(
        "--images", type=image_numbers, metavar="LIST", help="which of them: 0,3,10-12 (default 0)"
    )
    rtl.add_argument("--simulate", action="store_true", help="run every test bench with iverilog")
    rtl.add_argument("-o", "--output", required=True, metavar="DIR")
    _libraries(rtl)

    multipliers = command("multipliers", "multiplier libraries")
    add_multipliers(multipliers, common, _libraries, positive)

    targets = command("targets", "target descriptions")
    actions = targets.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="shipped targets", parents=[common])
    for name, text in (("show", "one target"), ("validate", "checks a target file")):
        sub = actions.add_parser(name, help=text, parents=[common])
        sub.add_argument("target", metavar="TARGET", help="name or .toml file")
    actions.add_parser("schema", help="JSON Schema of target files", parents=[common])

    report = command("report", "rebuilds report.html of a compile output folder")
    report.add_argument("folder", metavar="DIR")
    return parser
