"""The folder of what does not ship: where it is, and that its page says what is in it."""

from __future__ import annotations

import hashlib
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("named", "expected"), [("/data/alwann", "/data/alwann"), ("", ROOT.parent / "shared")]
)
def test_a_variable_names_it(
    monkeypatch: pytest.MonkeyPatch, named: str, expected: str | Path
) -> None:
    monkeypatch.setenv("ALWANN_SHARED", named)
    found = runpy.run_path(str(ROOT / "tools" / "shared_folder.py"))
    assert found["SHARED"] == Path(expected)
    assert found["VARIABLE"] in PAGE


def test_its_files_are_listed_with_their_hashes(shared: Path) -> None:
    listed = re.findall(r"^\| `([\w/.]+)` \| (?:`([0-9a-f]{64})`)?", PAGE, re.MULTILINE)
    hashes = {name: sha256 for name, sha256 in listed if sha256}
    assert len(hashes) == 5
    for name, sha256 in hashes.items():
        assert hashlib.sha256((shared / name).read_bytes()).hexdigest() == sha256, name
    models = {f"models/{path.name}" for path in (shared / "models").iterdir()}
    assert models <= {name for name, _ in listed}
    assert all((shared / name).exists() for name, _ in listed)
