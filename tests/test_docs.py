"""The documentation says what works: its code runs, in order, page by page; the site builds."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docs_commands
import docs_schemas
import pytest
from command_line import Compiled, alwann_c
from tiny import Case, write_data

import alwann_c as ax
from alwann_c import search_job
from alwann_c.cli import jobs
from alwann_c.cli.arguments import build_parser
from alwann_c.compensation import Effort
from alwann_c.schemas import SCHEMAS
from alwann_c.search_job import SearchOptions

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
LEFT_OUT = shlex.split(
    "--target power-gated-2 --calibration calibration.toml --search search.toml -o left-out"
)
"""What a page may leave out of `compile` as `…`."""
LESS = ["--population", "4", "--generations", "1", "--search-images", "40"]
"""Effort of a `compile` whose page names none."""
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
RUN = [
    *(ROOT / "docs" / f"howto-{what}.md" for what in ("model", "multipliers", "accelerator")),
    *(ROOT / "docs" / f"{page}.md" for page in ("tutorial", "howto-distributed", "multipliers")),
    *(ROOT / "docs" / "api.md", ROOT / "README.md"),
]
_FENCE = re.compile(
    r"^(?P<skip><!-- not run: [^\n]+ -->\n)?```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code: run, or not and why."""

    language: str
    title: str | None
    text: str
    skipped: bool


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page that name a language."""
    for found in _FENCE.finditer(page.read_text(encoding="utf-8")):
        yield Block(found["language"], found["title"], found["text"], bool(found["skip"]))


def execute(block: Block, names: dict[str, Any]) -> None:
    """Runs a block in the current folder; a titled one is a file to write."""
    if block.title is not None:
        Path(block.title).write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        exec(compile(block.text, "<documentation>", "exec"), names)
    else:
        assert block.language == "sh"
        for program, *arguments in _lines(block):
            assert program == "alwann-c", f"mark the block as not run: {program}"
            if arguments[0] == "compile" and "--population" not in arguments:
                arguments += LESS
            done = alwann_c(*arguments)
            assert done.code == 0, f"{arguments}\n{done.err}"


@pytest.fixture
def folder(
    small: Case, compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder the pages work in: net.onnx, data sets, an output folder, circuits, a library."""
    shutil.copy(small.path, tmp_path / "net.onnx")
    for index, name in enumerate(("calibration", "search", "test", "images")):
        write_data(tmp_path, name, tmp_path / "net.onnx", count=64, seed=10 + index)
    shutil.copytree(compiled.folder, tmp_path / "out")
    for name in ("circuits", "my-circuits"):
        (tmp_path / name).mkdir()
        for circuit in ("mul8u_exact", "mul8u_p50"):
            shutil.copy(ROOT / "targets" / "libraries" / "alwann" / f"{circuit}.v", tmp_path / name)
    own = tmp_path / "my-multipliers"
    assert alwann_c("multipliers", "import", tmp_path / "circuits", "-o", own).code == 0
    effort = Effort(rows=512, sweeps=0, every=False)
    least = {"in_order": 2, "refine": 2, "quick": effort, "thorough": effort}
    few = functools.partial(SearchOptions, population=4, generations=1, search_images=40, **least)
    for module in (search_job, jobs):
        monkeypatch.setattr(module, "SearchOptions", few)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
@pytest.mark.usefixtures("folder")
def test_code_runs(page: Path) -> None:
    found = [block for block in blocks(page) if not block.skipped and block.language != "toml"]
    assert found
    names: dict[str, Any] = {"__name__": "documentation", "ax": ax}
    for block in blocks(page):
        if not block.skipped:
            execute(block, names)


FRONTENDS = {"net.relay": "lark", "net.tflite": "tflite", "net.pt2": "torch"}
"""Files that `docs/frontends.md` looks at, and what reads them."""


def test_commands_of_frontends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the committed programs, where what reads them is installed."""
    fixtures = ROOT / "tests" / "fixtures"
    shutil.copy(fixtures / "relay" / "float.relay", tmp_path / "net.relay")
    shutil.copy(fixtures / "relay" / "float.params", tmp_path / "weights.params")
    shutil.copy(fixtures / "tflite" / "residual.tflite", tmp_path / "net.tflite")
    shutil.copy(fixtures / "pt2" / "net.pt2", tmp_path / "net.pt2")
    monkeypatch.chdir(tmp_path)
    shell = [b for b in blocks(ROOT / "docs" / "frontends.md") if b.language == "sh"]
    lines = [arguments for block in shell for _, *arguments in _lines(block)]
    assert {arguments[1] for arguments in lines} == set(FRONTENDS)
    there = [a for a in lines if importlib.util.find_spec(FRONTENDS[a[1]]) is not None]
    if not there:
        pytest.skip(f"needs one of {', '.join(FRONTENDS.values())}")
    for arguments in there:
        done = alwann_c(*arguments)
        assert done.code == 0, f"{arguments}\n{done.err}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_python_is_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, page.name, "exec")


def _lines(block: Block) -> Iterator[list[str]]:
    """Words of each command of a shell block, continued lines joined, without what it is piped to."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and "=" in words[0]:
            words = words[1:]
        ends = [i for i, word in enumerate(words) if word in (">", "|", "&&", "&")]
        words = words[: ends[0]] if ends else words
        if "…" in words:
            rest = words.index("…")
            words[rest : rest + 1] = LEFT_OUT
        if words:
            yield words


@pytest.mark.parametrize("page", [*PAGES, *WRITTEN], ids=lambda page: page.stem)
def test_commands_exist(page: Path) -> None:
    """Commands and options that pages name are those there are, also where nothing is run."""
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for block in blocks(page):
        if block.language != "sh":
            continue
        for program, *arguments in _lines(block):
            if program == "alwann-c":
                build_parser().parse_args(arguments)
            elif program == "make":
                assert {a for a in arguments if "=" not in a} <= set(made), arguments
            elif program.endswith("python") and arguments[0] != "-m":
                assert (ROOT / arguments[0]).is_file(), arguments


def test_a_block_that_fails_is_noticed(folder: Path) -> None:
    page = folder / "page.md"
    page.write_text("```sh\nalwann-c inspect none.onnx\n```\n\n```python\nassert 1 == 2\n```\n")
    for block in blocks(page):
        with pytest.raises(AssertionError):
            execute(block, {})


def test_every_example_is_listed() -> None:
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    assert all((ROOT / "examples" / name).exists() for name in named)
    folders = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    assert {name.split("/")[0] for name in named} == folders - {"__pycache__"}


def test_every_command_has_its_section() -> None:
    marked = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    page = docs_commands.on_page_markdown(marked)
    known = docs_commands.parsers(build_parser())
    assert {"compile", "multipliers evolve"} <= set(known)
    for name, parser in known.items():
        if parser.commands is not None:
            continue
        section = page.split(f"\n### {name}\n")[1].split("\n### ")[0]
        options = [option for action in parser._actions for option in action.option_strings]
        for option in {*options} - {*docs_commands.COMMON, "-h"}:
            assert f"`{option}`" in section or f"`{option} " in section, (name, option)


def _documented() -> list[str]:
    """What the API page takes from docstrings, by its path."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    return re.findall(r"^::: (\S+)$", text, re.MULTILINE)


def test_the_reference_has_every_public_name() -> None:
    """A module on the page stands for what it defines, `__version__` for itself."""
    shown: list[object] = [ax.__version__]
    for path in _documented():
        module, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(module), name)
        shown += vars(found).values() if inspect.ismodule(found) else [found]
    missing = [n for n in ax.__all__ if not any(getattr(ax, n) is found for found in shown)]
    assert not missing, f"docs/api.md lacks {', '.join(missing)}"


def test_site_builds_without_warnings(tmp_path: Path) -> None:
    for needed in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"needs {needed}: pip install 'alwann-c[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    reference = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    for path in _documented():
        assert f'id="{path}"' in reference, f"the API reference lacks {path}"
    formats = (tmp_path / "formats" / "index.html").read_text(encoding="utf-8")
    for schema in (model.model_json_schema(by_alias=True) for model in SCHEMAS.values()):
        for part in (schema, *schema["$defs"].values()) if "$defs" in schema else (schema,):
            for field in part.get("properties", ()):
                assert f"<td><code>{field}</code></td>" in formats, f"no row for {field}"


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ({"type": "integer", "minimum": 2, "maximum": 8}, "integer (2 to 8)"),
        ({"type": "number", "exclusiveMinimum": 0}, "number (> 0)"),
        ({"type": "number", "minimum": -1e12, "maximum": 1e12}, "number"),
        (
            {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
            "string (≤ 9 characters) or null",
        ),
        (
            {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "prefixItems": [{"type": "integer"}] * 2,
            },
            "[integer, integer]",
        ),
        (
            {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Unit"}},
            "list of **Unit** (≥ 1 entries)",
        ),
        (
            {"type": "object", "additionalProperties": {"enum": ["a", "b"]}},
            'object of `"a"` or `"b"`',
        ),
    ],
)
def test_types_are_told_in_words(node: dict[str, Any], told: str) -> None:
    assert docs_schemas.kind(node) == told
