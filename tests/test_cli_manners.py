"""How the command line treats people: help, suggestions, completion, progress, interruption."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from command_line import TARGET, Compiled, alwann_c, compile_arguments, only_json
from docs_commands import parsers
from tiny import Case

from alwann_c.atomic import fresh_folder
from alwann_c.cli import arguments
from alwann_c.cli.arguments import COMPENSATIONS, RANGES, build_parser
from alwann_c.cli.console import Console, How
from alwann_c.cli.examples import EXAMPLES
from alwann_c.errors import InputError
from alwann_c.passes.calibrate import Estimator
from alwann_c.passes.compensate import METHODS
from alwann_c.progress import Agenda, Ahead, Progress, Remaining, duration, followed_by
from alwann_c.schemas import SCHEMAS
from alwann_c.search.methods import MethodName
from alwann_c.search_job import ThirdName
from alwann_c.targets import load_target

LINES = [line for examples in EXAMPLES.values() for _, line in examples]


@pytest.mark.parametrize("line", LINES)
def test_every_example_is_a_command_line(line: str) -> None:
    words = shlex.split(re.sub(r" >>? .*", "", line))
    assert words[0] == "alwann-c"
    parsed = build_parser().parse_args(words[1:])
    assert parsed.command == words[1]


def test_every_command_teaches_with_an_example() -> None:
    known = parsers(build_parser())
    assert set(known) == set(EXAMPLES)
    for name, parser in known.items():
        shown = parser.format_help()
        for text, line in EXAMPLES[name]:
            assert text in shown
            assert line in shown
        for action in parser._actions:
            described = action.help or action.choices or action.metavar in ("NAME", "DIR")
            assert described, (name, action.dest)


def test_the_choices_are_those_there_are() -> None:
    assert COMPENSATIONS == METHODS
    assert get_args(Estimator) == RANGES
    assert get_args(MethodName) == arguments.METHODS
    assert get_args(ThirdName) == arguments.THIRD
    assert tuple(SCHEMAS) == arguments.FORMATS


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("complie", "unknown command 'complie'; did you mean 'compile'?"),
        ("multipliers lsit", "unknown command 'lsit'; did you mean 'list'?"),
        ("compile net.onnx --taget t", "unknown option '--taget'; did you mean '--target'?"),
        ("demo --generation=3 --popluation 9", "unknown option '--popluation'; did you mean"),
        ("--versoin", "unknown option '--versoin'; did you mean '--version'?"),
        (
            "evaluate n.onnx --calibration c --test t --ranges mes",
            "argument --ranges: unknown value 'mes'; did you mean 'mse'?",
        ),
        ("completion fihs", "unknown value 'fihs'; did you mean 'fish'?"),
        ("multipliers show mul8u_exat", "did you mean 'mul8u_exact'?"),
        ("targets show power-gatd-4", "did you mean 'power-gated-4'?"),
    ],
)
def test_misspelt_names_are_guessed(line: str, told: str) -> None:
    done = alwann_c(*line.split())
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert told in done.err


def test_version_names_what_results_depend_on() -> None:
    done = alwann_c("--version")
    assert done.code == 0
    tool, compiler, cpu, python = done.out.splitlines()
    assert re.fullmatch(r"alwann-c \d+\.\d+\.\d+", tool)
    assert re.fullmatch(r"TVM 0\.27\.\S+, LLVM \d+", compiler)
    assert re.fullmatch(r"CPU \S+ \(\S+\), \d+ cores available: .+", cpu)
    assert python == f"Python {sys.version.split()[0]}"


def test_help_and_completion_do_not_load_the_compiler() -> None:
    code = (
        "import sys; from alwann_c.cli import main\ntry: main(['compile', '--help'])\n"
        "except SystemExit: pass\nsys.exit('tvm' in sys.modules or 'onnx' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("alwann-c comp", {"compile ", "completion "}),
        ("alwann-c compile n.onnx --target power", {"power-gated-4 "}),
        ("alwann-c compile n.onnx --gen", {"--generations "}),
        ("alwann-c multipliers show mul8u_ex", {"mul8u_exact "}),
    ],
)
def test_shells_complete(line: str, offered: set[str], tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_IFS": "\n",
    }
    subprocess.run(
        [sys.executable, "-c", "from alwann_c.cli import main; main()"],
        env=environment,
        timeout=120,
        check=False,
        capture_output=True,
    )
    found = set(answer.read_text().split("\n"))
    assert offered <= found or {word.strip() for word in offered} <= found, found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_for_the_shell(shell: str) -> None:
    script = only_json(alwann_c("completion", shell, "--json"))["script"]
    assert "alwann-c" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=60)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _said(console_how: How, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "40")
    console = Console(how=console_how)
    console.progress("calibrating a network with a long name")
    console.progress(Progress("generation", 1, 2, ": 9 evaluated"))
    console.done()
    return stream.getvalue()


def test_progress_suits_what_it_goes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _said("auto", io.StringIO(), monkeypatch) == ""
    assert _said("off", _Terminal(), monkeypatch) == ""
    lines = _said("lines", io.StringIO(), monkeypatch).splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("generation 1/2: 9 evaluated (about 1 s left)")
    live = _said("auto", _Terminal(), monkeypatch)
    assert live.count("\n") == 1
    shown = live.rstrip("\n").split("\r\033[K")[1:]
    assert len(shown) == 2
    assert all(len(line) <= 39 for line in shown)
    assert shown[1].endswith("… (about 1 s left)")


def test_remaining_time_follows_the_pace() -> None:
    now = [0.0]
    remaining = Remaining(lambda: now[0])
    assert remaining.after("calibrating") == ""
    told = []
    for done in range(1, 5):
        now[0] += 30.0
        told.append(remaining.after(Progress("generation", done, 4)))
    assert told == [" (about 90 s left)", " (about 60 s left)", " (about 30 s left)", ""]
    now[0] += 240.0
    assert remaining.after(Progress("refining", 5, 10)) == " (about 20 min left)"
    assert [duration(s) for s in (0.2, 99, 150, 7800)] == ["1 s", "99 s", "2 min", "2 h 10 min"]
    assert Progress("generation", 1, 4, ": x") == "generation 1/4: x"


def test_remaining_time_is_that_of_the_job_where_its_steps_are_known() -> None:
    now = [0.0]
    remaining = Remaining(lambda: now[0])
    told: list[str] = []
    job = followed_by(lambda text: told.append(remaining.after(text)), Ahead("testing", 2, 5.0))
    job(Agenda("exact", [Ahead("measuring", 2), Ahead("searching", 3, 10.0)]))
    for step, count, seconds in (("measuring", 2, 10), ("searching", 3, 200), ("testing", 2, 20)):
        for done in range(1, count + 1):
            now[0] += seconds if told[1:] else 60  # the first one compiles
            job(Progress(step, done, count))
        job("between two steps")
    # 10 s each, so 3 x 100 s and 2 x 50 s are expected; then 200 s each are seen
    assert told == [
        *("", "", " (about 7 min left)", ""),
        *(" (about 8 min left)", " (about 5 min left)", " (about 2 min left)", ""),
        *(" (about 20 s left)", "", ""),
    ]


def _evaluations(path: Path) -> int:
    """Evaluations stored in a search's file, 0 while it is being created or locked."""
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.1) as connection:
            return int(connection.execute("SELECT count(*) FROM evaluation").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_interrupted_compile_says_how_to_go_on_and_does(small: Case, tmp_path: Path) -> None:
    target = tmp_path / "target.toml"
    target.write_text(TARGET, encoding="utf-8")
    folder = tmp_path / "out put"
    arguments = [str(a) for a in compile_arguments(small, target, folder)]
    endless = [*arguments, "--generations", "100000", "--progress", "lines"]
    process = subprocess.Popen(
        [sys.executable, "-m", "alwann_c", *endless], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "generation 2/" in line:
            break
    process.send_signal(signal.SIGINT)
    told = process.stderr.read()
    assert process.wait(timeout=120) == 130
    assert "Traceback" not in told
    assert f"finished evaluations are kept in {folder}, go on with:" in told
    command = told.strip().splitlines()[-1]
    assert shlex.split(command) == ["alwann-c", *endless, "--resume"]
    kept = _evaluations(folder / "evaluations.sqlite")
    assert kept >= 3
    assert not (folder / "plan.json").exists()
    data = only_json(alwann_c(*arguments, "--resume", "--json"))
    assert data["evaluations"] >= 3
    assert (folder / "report.html").exists()


def test_a_late_refusal_leaves_no_folder(small: Case, tmp_path: Path) -> None:
    target = tmp_path / "target.toml"
    target.write_text(TARGET, encoding="utf-8")
    arguments = compile_arguments(small, target, tmp_path / "deep" / "er" / "out")
    done = alwann_c(*arguments, "--exclude", "*")
    assert done.code == 2
    assert "nothing is left to approximate" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["target.toml"]


@pytest.mark.parametrize(
    ("existing", "written", "left"),
    [
        ((), (), ()),
        (("a",), (), ("a",)),
        (("a", "a/b"), (), ("a", "a/b")),
        ((), ("a/b/kept",), ("a", "a/b", "a/b/kept")),
    ],
)
def test_a_folder_goes_only_if_it_is_new_and_empty(
    tmp_path: Path, existing: tuple[str, ...], written: tuple[str, ...], left: tuple[str, ...]
) -> None:
    for name in existing:
        (tmp_path / name).mkdir()

    def refuse() -> None:
        with fresh_folder(tmp_path / "a" / "b"):
            for name in written:
                (tmp_path / name).touch()
            raise InputError("too late")

    with pytest.raises(InputError, match="too late"):
        refuse()
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == list(left)
    with fresh_folder(tmp_path / "a" / "b") as folder:
        assert folder.is_dir()


def test_interruption_elsewhere_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from alwann_c.cli import jobs

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    for name in ("demo", "evaluate"):
        monkeypatch.setattr(jobs, name, interrupted)
    done = alwann_c("evaluate", "n.onnx", "--calibration", "c", "--test", "t")
    assert (done.code, done.err) == (130, "interrupted; nothing was written\n")
    done = alwann_c("demo", "-o", tmp_path / "none")
    assert done.code == 130
    assert "run the same command again" in done.err


def test_the_demo_does_not_pass_for_the_whole_target() -> None:
    from alwann_c.cli import jobs

    whole, thinned = load_target("power-gated-4"), jobs._demo_target()
    assert thinned.name == "power-gated-4-demo"
    assert whole.unit[0].multipliers is None
    assert len(thinned.unit[0].multipliers or ()) == jobs.DEMO_CANDIDATES


def test_plot_writes_every_picture(compiled: Compiled, tmp_path: Path) -> None:
    folder = compiled.folder
    data = only_json(alwann_c("plot", folder, "-o", tmp_path / "figures", "--json"))
    names = {Path(path).stem for path in data["figures"]}
    assert {"front", "assignment", "energy", "operands", "error"} <= names
    for path in data["figures"]:
        assert Path(path).read_text(encoding="utf-8").startswith("<svg")
    text = (tmp_path / "figures" / "assignment.svg").read_text(encoding="utf-8")
    assert ">c1<" in text
    done = alwann_c("plot", folder, "-o", tmp_path / "png", "--format", "png", "--scale", 1)
    assert done.code == 0
    assert (tmp_path / "png" / "front.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert alwann_c("plot", tmp_path / "nowhere").code == 2
    (tmp_path / "empty").mkdir()
    done = alwann_c("plot", tmp_path / "empty")
    assert done.code == 2
    assert "front.json: no such file" in done.err
