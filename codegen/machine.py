"""This machine and its compilation targets. Imported before TVM's thread pool starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import tvm
from tvm.target import codegen as llvm_info

from alwann_c.cores import available_cores


def use_all_cores() -> None:
    """Lets TVM's pool use every available core (its default is half of them).

    Its threads are not bound to cores: the calling thread is not either, and where another library
    has threads as well, both may end up on one core. An idle thread yields its core 2,000 times,
    about a millisecond where nothing else wants it, before it sleeps. TVM's default takes more than
    100 ms, during which whatever else runs is short of a core, and minutes on a busy one, where each
    yield waits for the others' time slices and the process cannot end before. Must run before the
    first parallel kernel; the environment's settings win.
    """
    os.environ.setdefault("TVM_NUM_THREADS", str(available_cores()))
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "2000")


def host_target() -> tvm.target.Target:
    """LLVM target of this machine's CPU, full vector width."""
    cpu = str(llvm_info.llvm_get_system_cpu())
    config: dict[str, object] = {"kind": "llvm", "mcpu": cpu}
    plain = tvm.target.Target(config)
    features = {str(name) for name in llvm_info.llvm_get_cpu_features(plain)}
    if "avx512bw" in features:
        config["mattr"] = ["-prefer-256-bit"]
    return tvm.target.Target(config)


@contextmanager
def without_native_warnings() -> Iterator[None]:
    """TVM's serialiser logs one warning per constant straight to stderr, writing and reading; its
    errors are raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
