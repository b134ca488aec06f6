"""The arguments of every command."""

from __future__ import annotations

import argparse
from typing import Any

from alwann_c.cli.about import Version
from alwann_c.cli.completion import SHELLS, files, multiplier_names, target_names
from alwann_c.cli.examples import epilog
from alwann_c.cli.multiplier_arguments import add_multipliers
from alwann_c.cli.parser import Parser, image_numbers, layer_kinds, positive, shape, share

COMPENSATIONS = (
    *("none", "alwann", "histogram", "variance", "analytic", "bias"),
    *("scale", "feed", "joint", "coding", "full"),
)
"""The compensation's `METHODS`, here because `--help` must not load the compiler."""

RANGES = ("noise", "mse", "kl", "percentile", "minmax")
"""Estimators of the activations' ranges, here for the same reason."""

METHODS = ("nsga2", "exhaustive", "greedy", "random")
THIRD = ("area", "latency")
"""Of the search, here for the same reason."""

FORMATS = ("dataset", "library", "target", "plan", "manifest", "front", "operands")
"""The names of `schemas.SCHEMAS`, here for the same reason."""

PICTURES = ("svg", "png", "pdf")


class _Commands:
    """Adds commands to a parser, each with its examples."""

    def __init__(self, parser: Parser, prefix: str = "", into: str = "command") -> None:
        self._actions = parser.add_commands("ACTION" if prefix else "COMMAND", into)
        self._prefix = prefix
        self._common = Parser(add_help=False)
        _output_style(self._common)

    def add(self, name: str, text: str, *, group: bool = False) -> Parser:
        """A command; with `group` one that only holds further ones."""
        return self._actions.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=epilog(f"{self._prefix}{name}"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[] if group else [self._common],
        )


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog="alwann-c",
        description="Approximate-multiplier accelerators for trained CNNs, without retraining.",
        epilog=epilog("") + "\n\nalwann-c COMMAND --help has examples of every command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=Version)
    commands = _Commands(parser)
    _demo(commands.add("demo", "the main job on the shipped model, data, library and target"))
    _inspect(commands.add("inspect", "layers, shapes, MACs, approximable or why not"))
    _compile(commands.add("compile", "model in; front, plan and deployed module out"))
    _evaluate(commands.add("evaluate", "accuracy of a uniform multiplier or of a plan"))
    _run(commands.add("run", "runs a deployed module, executing its code; needs no model"))
    _export_rtl(commands.add("export-rtl", "arrays, golden vectors and SystemVerilog of a plan"))
    _multipliers(commands.add("multipliers", "multiplier libraries", group=True))
    _targets(commands.add("targets", "target descriptions", group=True))
    schema = commands.add("schema", "the JSON Schema of a file format; without a name, the names")
    schema.add_argument("name", nargs="?", choices=FORMATS, metavar="NAME", help=", ".join(FORMATS))
    report = commands.add("report", "rebuilds report.html of a compile output folder")
    report.add_argument("folder", metavar="DIR", help="the folder `compile` wrote")
    _plot(commands.add("plot", "the pictures of the report as files, for papers and slides"))
    shell = commands.add("completion", "the script that completes this command line in a shell")
    shell.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return parser


def _output_style(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object on stdout")
    command.add_argument(
        "--progress",
        choices=("auto", "lines", "off"),
        default="auto",
        metavar="HOW",
        help="auto: live on a terminal, else silent (default); lines: one per step; off",
    )


def _completed(action: argparse.Action, completer: Any) -> None:
    """How the shell completes the value of an argument."""
    action.completer = completer  # type: ignore[attr-defined]


def _data(command: Parser, option: str, text: str, *, required: bool = False) -> None:
    action = command.add_argument(option, required=required, metavar="D", help=text)
    _completed(action, files(".toml", ".npz"))


MODELS = (".onnx", ".pt2", ".relay", ".tflite")


def _model(command: Parser) -> None:
    text = "ONNX, .pt2, .relay or .tflite file"
    _completed(command.add_argument("model", metavar="MODEL", help=text), files(*MODELS))
    _loading(command)


def _loading(command: Parser) -> None:
    command.add_argument(
        "--input-shape", type=shape, metavar="C,H,W", help="of a model that leaves it open"
    )
    command.add_argument(
        "--model-output", metavar="NAME", help="output to keep; default: the first"
    )
    command.add_argument(
        "--params", metavar="FILE", help="of a Relay program; default: the .params beside it"
    )


def _libraries(command: Parser) -> None:
    command.add_argument(
        "--library",
        action="append",
        default=[],
        metavar="DIR",
        help="multiplier library, repeatable; default: the shipped one",
    )


def _exclusions(command: Parser) -> None:
    command.add_argument(
        "--exclude", action="append", default=[], metavar="LAYER", help="keep a layer exact"
    )
    command.add_argument("--exclude-first", action="store_true", help="keep the first layer exact")
    command.add_argument("--exclude-last", action="store_true", help="keep the last layer exact")
    command.add_argument(
        "--approximate-dense", action="store_true", help="approximate dense layers too"
    )
    _approximate(command)


def _approximate(command: Parser) -> None:
    command.add_argument(
        "--approximate",
        type=layer_kinds,
        default=("conv2d",),
        metavar="LIST",
        help="kinds of layers: conv2d (default), dense, matmul (products of two activations)",
    )


def _effort(command: Parser, population: int, generations: int) -> None:
    for option, default, text in (
        ("--population", population, "candidates of a generation"),
        ("--generations", generations, "generations of the search"),
    ):
        text = f"{text} (default {default})"
        command.add_argument(option, type=positive, default=default, metavar="N", help=text)
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same seed, same result (default 0)"
    )
    command.add_argument(
        "--search-images",
        type=positive,
        default=1000,
        metavar="N",
        help="search images a candidate is judged on; the front is judged on all (default 1000)",
    )
    command.add_argument(
        "--resume", action="store_true", help="go on with an interrupted search in DIR"
    )


def _demo(command: Parser) -> None:
    command.add_argument(
        "-o", "--output", default="demo-output", metavar="DIR", help="default: demo-output"
    )
    _effort(command, 20, 6)


def _inspect(command: Parser) -> None:
    _model(command)
    command.add_argument(
        "--kernels", action="store_true", help="also the kernel that computes each layer here"
    )
    _approximate(command)


def _compile(command: Parser) -> None:
    _model(command)
    target = command.add_argument("--target", required=True, metavar="T", help="name or .toml file")
    _completed(target, target_names)
    _data(command, "--calibration", "unlabelled images", required=True)
    _data(command, "--search", "labelled, to choose with", required=True)
    _data(command, "--test", "labelled, to report on")
    command.add_argument(
        "--max-drop",
        type=share,
        default=0.005,
        metavar="X",
        help="accuracy the chosen plan may lose against float, 0..1 (default 0.005)",
    )
    command.add_argument(
        "--device", default="cpu", help="cpu, 'llvm -mtriple=…', c, cuda[:sm_90], opencl"
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument("--workers", type=positive, default=1, metavar="N", help="processes here")
    where.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler, tcp://host:port")
    command.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder for everything it writes"
    )
    _libraries(command)
    _exclusions(command)
    _effort(command, 50, 30)
    command.add_argument(
        "--method",
        choices=METHODS,
        default="nsga2",
        metavar="HOW",
        help=f"how to search: {', '.join(METHODS)} (default nsga2)",
    )
    command.add_argument(
        "--third",
        choices=THIRD,
        metavar="WHAT",
        help=f"a third objective beside accuracy and energy: {' or '.join(THIRD)}",
    )
    command.add_argument(
        "--no-race", action="store_true", help="judge every candidate on all its images"
    )


def _evaluate(command: Parser) -> None:
    _model(command)
    _data(command, "--calibration", "unlabelled images", required=True)
    _data(command, "--test", "labelled images to judge on", required=True)
    what = command.add_mutually_exclusive_group()
    uniform = what.add_argument("--multiplier", metavar="NAME", help="on every approximable layer")
    _completed(uniform, multiplier_names)
    _completed(what.add_argument("--plan", metavar="FILE", help="plan.json"), files(".json"))
    command.add_argument(
        "--compensation",
        choices=COMPENSATIONS,
        default="full",
        metavar="HOW",
        help=f"one of {', '.join(COMPENSATIONS)} (default)",
    )
    _quantization(command)
    command.add_argument("--limit", type=positive, metavar="N", help="first N test images only")
    _libraries(command)
    _exclusions(command)


def _quantization(command: Parser) -> None:
    """How the float network becomes an integer one; a plan brings its own choices."""
    group = command.add_argument_group("quantization")
    group.add_argument("--weights", choices=("per-channel", "per-tensor"), default="per-channel")
    group.add_argument("--ranges", choices=RANGES, default="noise")
    group.add_argument(
        "--activations",
        choices=("symmetric", "affine"),
        default="symmetric",
        help="zero point of signed codes: 0, or where the range wants it",
    )
    for operand in ("activation", "weight"):
        group.add_argument(
            f"--{operand}-bits",
            type=int,
            metavar="N",
            help=f"width of {operand} codes, 2 to 8; default: the multiplier's",
        )
    group.add_argument(
        "--equalize", action="store_true", help="equalise weight ranges across layers first"
    )
    group.add_argument(
        "--sign-magnitude",
        action="store_true",
        help="signed codes on an unsigned multiplier: magnitudes multiplied, signs set apart",
    )


def _run(command: Parser) -> None:
    command.add_argument(
        "module",
        metavar="MODULE",
        help="module.so or its folder; loading it runs its code: take it only from whom you trust",
    )
    _data(command, "--data", "images to run on")
    command.add_argument("-o", "--output", metavar="FILE.npy", help="write the outputs")
    command.add_argument("--self-test", action="store_true", help="compare with recorded outputs")
    command.add_argument("--rpc", metavar="HOST:PORT", help="run on this TVM RPC server")


def _export_rtl(command: Parser) -> None:
    command.add_argument("plan", metavar="PLAN", help="plan.json or the folder `compile` wrote")
    command.add_argument(
        "--model", metavar="MODEL", help="default: as the manifest beside PLAN says"
    )
    _loading(command)
    _data(command, "--calibration", "default: as the manifest says")
    _data(command, "--data", "golden images; default: the calibration data")
    command.add_argument(
        "--images", type=image_numbers, metavar="LIST", help="which of them: 0,3,10-12 (default 0)"
    )
    command.add_argument("--simulate", action="store_true", help="run every test bench (iverilog)")
    command.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder for everything it writes"
    )
    _libraries(command)


def _multipliers(command: Parser) -> None:
    actions = _Commands(command, "multipliers ", "action")
    for named in add_multipliers(actions.add, _libraries):
        _completed(named, multiplier_names)


def _targets(command: Parser) -> None:
    actions = _Commands(command, "targets ", "action")
    actions.add("list", "shipped targets")
    for name, text in (("show", "one target"), ("validate", "checks a target file")):
        aim = actions.add(name, text).add_argument(
            "target", metavar="TARGET", help="name or .toml file"
        )
        _completed(aim, target_names)
    actions.add("schema", "JSON Schema of target files")


def _plot(command: Parser) -> None:
    command.add_argument("folder", metavar="DIR", help="the folder `compile` wrote")
    command.add_argument("--format", choices=PICTURES, default="svg", help="default: svg")
    command.add_argument(
        "--scale",
        type=positive,
        default=2,
        metavar="N",
        help="pixels per point of a png (default 2)",
    )
    command.add_argument(
        "-o", "--output", metavar="DIR", help="where the files go; default: DIR/figures"
    )
