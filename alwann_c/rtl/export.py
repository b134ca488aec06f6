"""Writes everything a verification engineer needs of a plan into one folder."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alwann_c.atomic import write_json
from alwann_c.errors import InputError
from alwann_c.ir.rewrite import apply
from alwann_c.ir.spec import Quantization
from alwann_c.passes.approximate import Approximate
from alwann_c.plan import Plan
from alwann_c.quantized import QuantizedModel
from alwann_c.rtl.files import write_csv
from alwann_c.rtl.golden import LayerVectors, golden_vectors
from alwann_c.rtl.layer import lanes, parameters, write_layer
from alwann_c.rtl.multipliers import own_netlist, write_multiplier
from alwann_c.targets import Library, Multiplier, exact_products
from alwann_c.version import TOOL

NETWORK = "network.json"
MAX_SCALE_EXPONENT = 60
"""Scales outside 2^-60 .. 2^60 could leave the range `float32.sv` computes in."""

_MAKEFILE = """\
# make: simulates every multiplier and every layer, with Icarus Verilog where it is installed;
# make SIM=verilator: with Verilator; make lint: what Verilator warns of in every layer's mac_tile.
SIM ?= $(if $(shell command -v iverilog),iverilog,verilator)
LAYERS := {layers}
MULTIPLIERS := {multipliers}
.PHONY: all lint $(LAYERS) $(MULTIPLIERS)
all: $(MULTIPLIERS) $(LAYERS)
ifeq ($(SIM),verilator)
options = --binary --timing -Wno-fatal -Wno-lint --top-module $(1)_tb -o sim
run = verilator $(options) -f $(1).f >/dev/null && obj_dir/sim
else
run = iverilog -g2012 -s $(1)_tb -o sim.vvp -c $(1).f && vvp -n sim.vvp
endif
lint:
\tset -e; for layer in $(LAYERS); do (cd layers/$$layer && \\
\t  verilator --lint-only -Wall --timing --top-module mac_tile -f layer.f); done
$(LAYERS):
\tcd layers/$@ && $(call run,layer)
$(MULTIPLIERS):
\tcd multipliers/$@ && $(call run,multiplier)
"""


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "layer"


def _multiplier(vectors: LayerVectors, name: str, library: Library) -> Multiplier:
    """The library's circuit; a circuit of its own for a layer on an exact table without one."""
    if name in library and np.array_equal(library.find(name).table, vectors.table):
        return library.find(name)
    if not np.array_equal(vectors.table, exact_products(vectors.spec.signed)):
        raise InputError(f"plan: layer '{vectors.name}': '{name}' has another table in the library")
    plain = "exact_signed" if vectors.spec.signed else "exact_unsigned"
    return Multiplier(plain, vectors.table, signed=vectors.spec.signed)


def _check(vectors: LayerVectors) -> None:
    codes = (vectors.spec.epilogue.output, vectors.spec.epilogue.residual_code)
    scales = [*vectors.scale.tolist(), *(code.scale for code in codes if code is not None)]
    if not all(2.0**-MAX_SCALE_EXPONENT < s < 2.0**MAX_SCALE_EXPONENT for s in scales):
        raise InputError(
            f"plan: layer '{vectors.name}': a scale is not positive or too small or large for "
            "the hardware's arithmetic; calibrate with representative data"
        )


def _code(code: Quantization | None) -> dict[str, Any] | None:
    if code is None:
        return None
    return {"scale": code.scale, "zero_point": code.zero_point, "signed": code.signed}


def _describe(
    vectors: LayerVectors, folder: str, unit: str | None, multiplier: Multiplier
) -> dict[str, Any]:
    spec, epilogue = vectors.spec, vectors.spec.epilogue
    return {
        "name": vectors.name,
        "kind": vectors.kind,
        "folder": folder,
        "unit": unit,
        "multiplier": multiplier.name,
        "netlist": own_netlist(multiplier) is not None,
        "macs": spec.macs,
        "taps": spec.taps,
        "lanes": lanes(vectors),
        "input": {"scale": vectors.input_scale, "zero_point": spec.zero_point},
        "signed": spec.signed,
        "output": _code(epilogue.output),
        "residual": {"kind": epilogue.residual, "code": _code(epilogue.residual_code)},
        "activation": {
            "kind": epilogue.activation,
            "min": epilogue.clip_min,
            "max": epilogue.clip_max,
        },
        "parameters": parameters(vectors),
    }


def _write(
    folder: Path,
    plan: Plan,
    vectors: list[LayerVectors],
    library: Library,
) -> list[dict[str, Any]]:
    planned = {layer.name: layer for layer in plan.layers}
    rtl = folder / "rtl"
    rtl.mkdir()
    for source in sorted((files("alwann_c") / "rtl" / "verilog").iterdir(), key=lambda s: s.name):
        (rtl / source.name).write_bytes(source.read_bytes())
    modules: dict[str, str] = {}
    described = []
    for index, layer in enumerate(vectors):
        _check(layer)
        multiplier = _multiplier(layer, planned[layer.name].multiplier, library)
        if multiplier.name not in modules:
            place = folder / "multipliers" / multiplier.name
            place.mkdir(parents=True)
            written = write_multiplier(multiplier, place)
            modules[multiplier.name] = f"../../multipliers/{multiplier.name}/{written.name}"
        name = f"{index:02d}_{_slug(layer.name)}"
        (folder / "layers" / name).mkdir(parents=True)
        module = modules[multiplier.name]
        write_layer(layer, folder / "layers" / name, module)
        described.append(_describe(layer, name, planned[layer.name].unit, multiplier))
    names = " ".join(str(item["folder"]) for item in described)
    text = _MAKEFILE.format(layers=names, multipliers=" ".join(modules))
    (folder / "Makefile").write_text(text, encoding="utf-8")
    columns = ["folder", "name", "kind", "unit", "multiplier", "netlist", "macs"]
    rows = [[item[column] for column in columns] for item in described]
    write_csv(folder / "assignment.csv", columns, rows)
    return described


def _place(temporary: Path, folder: Path) -> None:
    """Moves the finished folder where it belongs, replacing an older hand-off."""
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)


def export_rtl(
    plan: Plan,
    quantized: QuantizedModel,
    images: npt.NDArray[np.float32],
    folder: str | Path,
    *,
    library: Library,
    origin: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes the hand-off of `plan` with golden vectors of `images` [n, c, h, w]; returns what
    `network.json` says. `origin`: where the images came from, recorded as it is.

    An existing hand-off is replaced. Raises InputError when plan, model and library do not belong
    together, or `folder` holds anything else.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / NETWORK).is_file() and any(folder.iterdir()):
        raise InputError(f"{folder}: not empty and no earlier hand-off; give another folder")
    approximations = plan.approximations(quantized, library)
    module = apply(Approximate(approximations), quantized.module)
    coded = {name: chosen.layer for name, chosen in approximations.items()}
    vectors, outputs = golden_vectors(module, quantized.layers | coded, images)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".rtl", dir=folder.parent) as name:
            temporary = Path(name) / "rtl"
            temporary.mkdir()
            layers = _write(temporary, plan, vectors, library)
            np.savez_compressed(temporary / "network.npz", images=images, outputs=outputs)
            written = sorted(path for path in temporary.rglob("*") if path.is_file())
            network = {
                "version": 1,
                "tool": TOOL,
                "model": plan.model,
                "plan_sha256": plan.sha256,
                "relative_energy": plan.relative_energy,
                "images": len(images),
                "origin": origin or {},
                "layers": layers,
                "left_out": [n for n, x in quantized.layers.items() if x.kind == "matmul"],
                "files": {
                    str(path.relative_to(temporary)): hashlib.sha256(path.read_bytes()).hexdigest()
                    for path in written
                },
            }
            write_json(temporary / NETWORK, network)
            _place(temporary, folder)
    except OSError as e:
        raise InputError(f"{folder}: cannot write: {e.strerror or e}") from e
    return network
