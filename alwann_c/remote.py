"""Modules that run on another machine, over TVM RPC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alwann_c.errors import InputError

TIMEOUT_SECONDS = 60


def _address(rpc: str) -> tuple[str, int]:
    host, _, port = rpc.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--rpc: '{rpc}' is not HOST:PORT")
    return host.strip("[]"), int(port)


def load_remote(path: Path, rpc: str, target: Any) -> tuple[Any, Any]:
    """Sends a module to an RPC server; the remote module and the device that runs it.

    Only for servers you trust and networks that are yours: TVM RPC is neither encrypted nor
    authenticated. Raises InputError when the server does not answer or cannot load the module.
    """
    from tvm import rpc as tvm_rpc

    host, port = _address(rpc)
    try:
        session = tvm_rpc.connect(host, port, session_timeout=TIMEOUT_SECONDS)
    except (RuntimeError, OSError) as e:
        reason = str(e).strip().splitlines()[-1]
        raise InputError(f"--rpc: {rpc}: no TVM RPC server answers: {reason}") from e
    kind = target.kind.name
    try:
        session.upload(str(path), path.name)
        executable = session.load_module(path.name)
    except (RuntimeError, OSError) as e:
        reason = str(e).strip().splitlines()[-1]
        raise InputError(f"--rpc: {rpc}: the server cannot load the module: {reason}") from e
    return executable, session.device(kind if kind in ("cuda", "opencl") else "cpu", 0)
