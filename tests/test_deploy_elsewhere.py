"""Modules outside this package: TVM's runtime alone, C++, another CPU, C source, RPC."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from command_line import alwann_c, only_json
from tiny import Case, make_target, random_multiplier

from alwann_c.accelerator import place
from alwann_c.builder import build, make_plan, write_module
from alwann_c.compensation import Compensator
from alwann_c.deploy import load_module
from alwann_c.errors import InputError
from alwann_c.plan import Plan
from alwann_c.targets import Assignment, Library, Multiplier, exact_products

ROOT = Path(__file__).parents[1]
AARCH64 = ROOT / "build" / "aarch64"
CROSS, QEMU = "aarch64-linux-gnu-g++", "qemu-aarch64"
EXACT = Multiplier("exact", exact_products(False), power_mw=1.0)
ODD = random_multiplier(11, power_mw=0.5)
LIBRARY = Library("odd", "MIT", None, {m.name: m for m in (EXACT, ODD)})


@dataclass(frozen=True)
class Site:
    """A plan of the small network, images in a file, and their outputs in this process."""

    case: Case
    plan: Plan
    images: Path
    outputs: npt.NDArray[np.float32]

    def deploy(self, folder: Path, device: str) -> Path:
        """The module's folder, built for a device."""
        quantized = self.case.quantized
        module = build(quantized, self.plan, device, library=LIBRARY)
        write_module(
            module, folder, quantized=quantized, plan=self.plan, library=LIBRARY, data={},
            device=device,
        )  # fmt: skip
        return folder


@pytest.fixture(scope="module")
def site(small: Case, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Both convolutions on a random asymmetric table."""
    accelerator = place(small.quantized, make_target(), LIBRARY)
    compensator = Compensator(small.quantized)
    chosen = compensator.network(dict.fromkeys(small.convolutions, ODD), "none")
    plan = make_plan(accelerator, Assignment((ODD.name,) * 2, (0, 0)), chosen, "none")
    images = tmp_path_factory.mktemp("site") / "images.npy"
    np.save(images, small.search.images)
    outputs = build(small.quantized, plan, library=LIBRARY)(small.search.images)
    return Site(small, plan, images, outputs)


@pytest.fixture(scope="module")
def folder(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module for this machine."""
    return site.deploy(tmp_path_factory.mktemp("cpu"), "cpu")


def check_call(command: list[object], **options: object) -> None:
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_ten_lines_without_this_package(site: Site, folder: Path, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    assert sum(bool(line) for line in code.group(1).splitlines()) <= 10
    refuse = "import sys; sys.modules['alwann_c'] = None; sys.modules['tvm.relax'] = None\n"
    script = tmp_path / "run.py"
    script.write_text(refuse + code.group(1), encoding="utf-8")
    out = tmp_path / "out.npy"
    command = [sys.executable, "-P", script, folder / "module.so", site.images, out]
    check_call(command, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(out), site.outputs)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_cpp(site: Site, folder: Path, tmp_path: Path) -> None:
    program, out = tmp_path / "deploy", tmp_path / "out.npy"
    make = ["make", "-s", "-C", ROOT / "examples" / "cpp_deploy", f"PYTHON={sys.executable}"]
    check_call([*make, f"OUTPUT={program}"])
    check_call([program, folder / "module.so", site.images, out])
    np.testing.assert_array_equal(np.load(out), site.outputs)
    done = subprocess.run(
        [program, folder / "module.so", folder / "manifest.json", out], check=False
    )
    assert done.returncode == 2


def test_c_source(site: Site, tmp_path: Path) -> None:
    folder = site.deploy(tmp_path, "c")
    source = (folder / "module.c").read_text(encoding="utf-8")
    assert "__tvm_ffi_alwann_direct" in source
    module = load_module(folder)
    np.testing.assert_array_equal(module(site.case.search.images), site.outputs)
    assert module.self_test()
    (folder / "module.c").write_text(source + "\n")
    with pytest.raises(InputError, match=r"module\.c: its SHA-256 differs"):
        load_module(folder)
    (folder / "module.c").unlink()
    assert load_module(folder).self_test()


@pytest.mark.skipif(shutil.which(CROSS) is None, reason=f"needs {CROSS} (Debian package)")
@pytest.mark.skipif(shutil.which(QEMU) is None, reason="needs qemu-user (Debian package)")
@pytest.mark.skipif(not AARCH64.is_dir(), reason="needs tools/fetch_runtime.py aarch64")
def test_aarch64_under_qemu(site: Site, tmp_path: Path) -> None:
    (tmp_path / "arm").mkdir()
    folder = site.deploy(tmp_path / "arm", "llvm -mtriple=aarch64-linux-gnu")
    with pytest.raises(InputError, match="built for aarch64-linux-gnu"):
        load_module(folder)
    program, out = tmp_path / "deploy", tmp_path / "out.npy"
    make = ["make", "-s", "-C", ROOT / "examples" / "cpp_deploy", f"PYTHON={sys.executable}"]
    check_call([*make, f"OUTPUT={program}", f"CXX={CROSS}", f"LIBRARIES={AARCH64}"])
    emulator = [QEMU, "-L", "/usr/aarch64-linux-gnu"]
    environment = os.environ | {"TVM_NUM_THREADS": "1"}
    check_call([*emulator, program, folder / "module.so", site.images, out], env=environment)
    np.testing.assert_array_equal(np.load(out), site.outputs)
    document = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    test = load_module(site.deploy(tmp_path, "cpu")).manifest
    assert test is not None
    assert document["self_test"] == test.self_test.model_dump(mode="json")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A TVM RPC server in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--port-end", str(port + 1)]
    place = tmp_path_factory.mktemp("server")
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=place, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(120):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.25)
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def test_rpc(site: Site, folder: Path, server: str, tmp_path: Path) -> None:
    out = tmp_path / "out.npy"
    data = ["--data", site.case.search.path, "-o", out, "--rpc", server]
    said = only_json(alwann_c("run", folder, *data, "--self-test", "--json"))
    assert said["self_test"] == "passed"
    np.testing.assert_array_equal(np.load(out), site.outputs)


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1:1"])
def test_no_rpc_server(folder: Path, address: str) -> None:
    done = alwann_c("run", folder, "--self-test", "--rpc", address)
    assert done.code == 2
    assert done.err.startswith("error: --rpc")
    assert done.err.count("\n") == 1
