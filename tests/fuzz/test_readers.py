"""Whatever a file holds, a reader takes it or refuses it in one printable line, in bounded memory."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated
from readers import READERS, feed

from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.targets import load_target
from alwann_c.targets.importing.yosys import available as yosys_there


def torch_there() -> bool:
    return find_spec("torch") is not None


CORPUS = Path(__file__).parent / "corpus"
SLOW = {"onnx", "onnx-fields", "tflite", "relay", "pt2", "liberty"}
"""A second or more for one input."""
DAMAGED = {"plan-array", "store-row", "onnx-fields"}
"""Readers some of whose seeds are to be refused."""
NEEDS = {
    "pt2": (torch_there, "needs PyTorch (extra `torch`)"),
    "liberty": (yosys_there, "needs Yosys (extra `netlists`)"),
}
MEMORY = 3 << 29
FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """1.5 GiB more than now: what a file claims must not be believed."""
    for reader in READERS.values():
        reader.seeds()  # made once, before the bound holds
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", READERS)
def test_what_is_valid_is_taken(name: str, tmp_path: Path) -> None:
    there, reason = NEEDS.get(name, (None, ""))
    if there is not None and not there():
        pytest.skip(reason)
    taken = [feed(READERS[name], seed, tmp_path) for seed in READERS[name].seeds()]
    assert any(taken) if name in DAMAGED else all(taken)


@pytest.mark.parametrize("name", [name for name in READERS if name not in SLOW])
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_files(name: str, tmp_path: Path, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(READERS[name].seeds()))
    feed(READERS[name], mutated(seed, random.Random(data.draw(st.integers(0, 1 << 64)))), tmp_path)


@pytest.mark.parametrize("name", sorted(SLOW - {"onnx-fields"}))
def test_damaged_files_of_slow_readers(name: str, tmp_path: Path) -> None:
    for number, seed in enumerate(READERS[name].seeds() * 4):
        feed(READERS[name], mutated(seed, random.Random(number)), tmp_path)


@pytest.mark.parametrize(
    "name", [name for name in READERS if name not in ("onnx-fields", "liberty")]
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=400))
def test_any_bytes(name: str, tmp_path: Path, data: bytes) -> None:
    feed(READERS[name], data, tmp_path)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(min_size=4, max_size=40))
def test_networks_with_other_fields(tmp_path: Path, data: bytes) -> None:
    feed(READERS["onnx-fields"], data, tmp_path)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_a_reader(path: Path, tmp_path: Path) -> None:
    feed(READERS[path.parent.name], path.read_bytes(), tmp_path)


def test_a_data_set_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "d.npz").write_bytes(READERS["archive"].seeds()[0])
    for name in ("../d.npz", str(tmp_path / "d.npz"), "a/../../d.npz"):
        (tmp_path / "inner" / "d.toml").write_text(f'file = "{name}"\n')
        with pytest.raises(InputError, match="leads out of its folder"):
            load_dataset(tmp_path / "inner" / "d.toml")


def test_endless_files_are_not_read_to_their_end() -> None:
    with pytest.raises(InputError, match="larger than"):
        load_target(Path("/dev/zero"))
