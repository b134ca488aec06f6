"""These tests export networks with PyTorch: `pip install alwann-c[torch]`, `make test-exporters`."""

from __future__ import annotations

import importlib.util

import pytest

MISSING = [name for name in ("torch", "onnxscript") if importlib.util.find_spec(name) is None]
collect_ignore_glob: list[str] = []


def pytest_ignore_collect(collection_path: object) -> bool | None:
    """Files that import PyTorch are not even read without it."""
    path = str(collection_path)
    return True if MISSING and path.endswith(("architectures.py", "token_networks.py")) else None


@pytest.fixture(autouse=True)
def _torch() -> None:
    if MISSING:
        pytest.skip(f"needs {' and '.join(MISSING)}: pip install alwann-c[torch]")
