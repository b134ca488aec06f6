"""What the wheel would hold."""

from __future__ import annotations

import importlib
import inspect
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAPPED = ("passes", "codegen", "targets")


@pytest.fixture(scope="module")
def setuptools() -> dict[str, object]:
    """`[tool.setuptools]` of pyproject.toml."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = document["tool"]["setuptools"]
    assert isinstance(found, dict)
    return found


def packages() -> set[str]:
    """Folders that hold Python, by the names they import as."""
    found = set()
    for top in ("alwann_c", *MAPPED):
        prefix = "" if top == "alwann_c" else "alwann_c."
        for file in (ROOT / top).rglob("*.py"):
            folder = file.parent.relative_to(ROOT)
            linked = top == "alwann_c" and len(folder.parts) > 1 and folder.parts[1] in MAPPED
            if not linked:
                found.add(prefix + ".".join(folder.parts))
    return found


def test_every_folder_with_python_is_a_listed_package(setuptools: dict[str, object]) -> None:
    listed = setuptools["packages"]
    assert isinstance(listed, list)
    assert sorted(listed) == sorted(packages())
    assert len(listed) > 8


def test_every_package_has_an_init() -> None:
    for name in packages():
        parts = name.split(".")
        folder = parts[1:] if len(parts) > 1 and parts[1] in MAPPED else parts
        assert (ROOT.joinpath(*folder) / "__init__.py").is_file(), name


def test_mapped_folders_are_linked_into_the_package(setuptools: dict[str, object]) -> None:
    expected = {"alwann_c": "alwann_c"} | {f"alwann_c.{name}": name for name in MAPPED}
    assert setuptools["package-dir"] == expected
    for name in MAPPED:
        link = ROOT / "alwann_c" / name
        assert link.is_symlink()
        assert link.resolve() == ROOT / name


def test_every_data_file_is_packaged(setuptools: dict[str, object]) -> None:
    patterns = setuptools["package-data"]
    assert isinstance(patterns, dict)
    places = {"alwann_c": "alwann_c", "alwann_c.report": "alwann_c/report"}
    places |= {f"alwann_c.{name}": name for name in MAPPED}
    kept: set[Path] = set()
    for package, globs in patterns.items():
        for pattern in globs:
            kept.update((ROOT / places[package]).glob(pattern))
    data = {
        file
        for top in ("alwann_c", *MAPPED)
        for file in (ROOT / top).rglob("*")
        if file.is_file()
        and file.suffix != ".py"
        and "__pycache__" not in file.parts
        and not any((ROOT / "alwann_c" / name) in file.parents for name in MAPPED)
    }
    assert data - kept == set()
    assert len(data) > 40


def test_functions_are_not_hidden_by_modules_of_their_name() -> None:
    import alwann_c as ax

    importlib.import_module("alwann_c.search.store")
    for _ in range(2):
        assert inspect.isfunction(ax.search)
    assert inspect.ismodule(sys.modules["alwann_c.search"])
