"""Programs of `torch.export`, in memory and as .pt2 files; files that would run code."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs torch: pip install alwann-c[torch]")
pytest.importorskip("onnxscript", reason="needs onnxscript: pip install alwann-c[torch]")

from architectures import SIZE, make  # noqa: E402
from messages import refusal  # noqa: E402

from alwann_c.codegen.float_network import FloatNetwork  # noqa: E402
from alwann_c.errors import InputError, UnsupportedError  # noqa: E402
from alwann_c.frontend.pt2_file import checked_archive  # noqa: E402
from alwann_c.ir.ops import static_shape  # noqa: E402
from alwann_c.model import load  # noqa: E402
from alwann_c.search.shipped import ship  # noqa: E402

IMAGES = np.random.default_rng(0).normal(0, 1, (3, 3, SIZE, SIZE)).astype(np.float32)


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0", "unet", "convnext", "vit"])
def test_a_program_equals_pytorch(name: str) -> None:
    """Exported for one image, it runs for any number of them."""
    network = make(name)
    program = torch.export.export(network, (torch.zeros(1, 3, SIZE, SIZE),))
    model = load(program)
    assert model.path is None
    assert static_shape(model.module["main"].params[0]) == (None, 3, SIZE, SIZE)
    got = FloatNetwork(model.module).run(IMAGES)
    with torch.no_grad():
        expected = network(torch.tensor(IMAGES)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with an open batch, as torch.export.save writes it."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential()
    layers.add_module("stem", torch.nn.Conv2d(3, 4, 3))
    layers.extend([torch.nn.ReLU(), torch.nn.Flatten()])
    layers.add_module("head", torch.nn.Linear(144, 5))
    layers.eval()
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(layers, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=batch)
    path = tmp_path_factory.mktemp("saved") / "net.pt2"
    torch.export.save(program, path)
    return path


def test_a_file_equals_its_program(saved: Path) -> None:
    model, program = load(saved), torch.export.load(saved)
    assert [layer.name for layer in model.layers] == ["stem", "head"]
    images = np.random.default_rng(1).normal(0, 1, (3, 3, 8, 8)).astype(np.float32)
    expected = program.module()(torch.tensor(images)).detach().numpy()
    got = FloatNetwork(model.module).run(images)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    again = FloatNetwork(ship(load(program)).load().module).run(images)
    np.testing.assert_array_equal(again, got)


def changed(source: Path, target: Path, edit: Callable[[dict[str, bytes]], Any]) -> Path:
    """A copy of an archive with its entries edited."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    edit(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def _json(entries: dict[str, bytes], end: str, edit: Callable[[str], str]) -> None:
    name = next(name for name in entries if name.endswith(end))
    before = entries[name].decode()
    entries[name] = edit(before).encode()
    assert entries[name].decode() != before


HOSTILE: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "pickled weights": (
        lambda e: _json(e, "weights_config.json", lambda t: t.replace("false", "true")),
        "pickled objects",
    ),
    "compiled code": (
        lambda e: e.update({"net/data/aotinductor/model/run.so": b"x"}),
        "may hold code",
    ),
    "any function": (
        lambda e: _json(
            e, "model.json", lambda t: t.replace("torch.ops.aten.relu.default", "torch.os.system")
        ),
        "operator 'torch.os.system'",
    ),
    "a call of what was computed": (
        lambda e: _json(
            e, "model.json", lambda t: t.replace("torch.ops.aten.relu.default", "_operator.call")
        ),
        "operator '_operator.call'",
    ),
    "evaluated sizes": (
        lambda e: _json(
            e,
            "model.json",
            lambda t: json.dumps({**json.loads(t), "x": {"expr_str": "__import__('os')"}}),
        ),
        "is no size",
    ),
    "a number of any length": (
        lambda e: _json(
            e,
            "model.json",
            lambda t: json.dumps({**json.loads(t), "x": {"expr_str": "9**9**9**9"}}),
        ),
        "is no size",
    ),
    "two folders": (lambda e: e.update({"other/version": b"1"}), "one folder"),
    "no program": (
        lambda e: [e.pop(name) for name in list(e) if name.endswith("model.json")],
        "'models/model.json' is missing",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_files_that_would_run_code_are_refused(what: str, saved: Path, tmp_path: Path) -> None:
    edit, reason = HOSTILE[what]
    with pytest.raises(InputError, match=reason):
        load(changed(saved, tmp_path / "net.pt2", edit))


def test_sample_inputs_are_never_unpickled(saved: Path, tmp_path: Path) -> None:
    """PyTorch alone would run what they hold; here they are left out."""
    witness = tmp_path / "witness"

    def edit(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if name.endswith("sample_inputs/model.pt"))
        buffer = io.BytesIO()
        torch.save(Bomb(witness), buffer)
        entries[name] = buffer.getvalue()

    path = changed(saved, tmp_path / "net.pt2", edit)
    assert load(path).classes == 5
    assert not witness.exists()
    pickle.loads(pickle.dumps(Bomb(witness)))
    assert witness.exists()


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data/weights/weight_0", bytes(50_000_000))
    with pytest.raises(InputError, match="compressed entries"):
        load(tmp_path / "z.pt2")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 20_000), values=st.binary(min_size=1, max_size=6), cut=st.booleans())
def test_damaged_archives(at: int, values: bytes, cut: bool, saved: Path, tmp_path: Path) -> None:
    """Checked or refused in one line, before PyTorch reads anything."""
    content = bytearray(saved.read_bytes())
    at = min(at, len(content) - 1)
    content[at : at + len(values)] = values
    path = tmp_path / "damaged.pt2"
    path.write_bytes(bytes(content[:at] if cut else content))
    assert "\n" not in refusal(checked_archive, path)


def test_a_network_in_training_mode_says_so() -> None:
    """Batch statistics cannot be folded."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).train()
    program = torch.export.export(network, (torch.zeros(2, 3, 8, 8),))
    with pytest.raises(UnsupportedError, match=r"batch_norm.* of node '.*training mode.*eval\(\)"):
        load(program)


def test_other_objects_are_refused() -> None:
    with pytest.raises(InputError, match=r"a Conv2d; give a file, or torch\.export\.export"):
        load(torch.nn.Conv2d(3, 4, 3))
