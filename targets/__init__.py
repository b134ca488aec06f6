"""Accelerator descriptions, multiplier libraries, and the energy both lead to.

Knows nothing of networks or compilers: layers come in as plain data.
"""

from alwann_c.targets.assignment import Assignment, canonical
from alwann_c.targets.binding import Binding, Unit, bind, expand_units
from alwann_c.targets.energy import (
    EnergyReport,
    LayerEnergy,
    UnitEnergy,
    energy_report,
    relative_energy,
)
from alwann_c.targets.library import (
    DEFAULT_LIBRARY,
    Library,
    builtin_library_names,
    load_builtin_library,
    load_library,
    merge_libraries,
)
from alwann_c.targets.multiplier import (
    MAX_BITS,
    MIN_BITS,
    ErrorStatistics,
    Multiplier,
    code_pattern,
    error_statistics,
    exact_products,
    narrowed,
    operand_values,
    sign_magnitude,
)
from alwann_c.targets.performance import LayerWork, Timing, area_um2, timing
from alwann_c.targets.schema import LAYER_KINDS, LayerKind, Layers, Target
from alwann_c.targets.target_file import (
    builtin_target_names,
    load_target,
    target_path,
    target_schema,
)
from alwann_c.targets.validity import check, check_bound, feasibility

__all__ = [
    "DEFAULT_LIBRARY",
    "LAYER_KINDS",
    "MAX_BITS",
    "MIN_BITS",
    "Assignment",
    "Binding",
    "EnergyReport",
    "ErrorStatistics",
    "LayerEnergy",
    "LayerKind",
    "LayerWork",
    "Layers",
    "Library",
    "Multiplier",
    "Target",
    "Timing",
    "Unit",
    "UnitEnergy",
    "area_um2",
    "bind",
    "builtin_library_names",
    "builtin_target_names",
    "canonical",
    "check",
    "check_bound",
    "code_pattern",
    "energy_report",
    "error_statistics",
    "exact_products",
    "expand_units",
    "feasibility",
    "load_builtin_library",
    "load_library",
    "load_target",
    "merge_libraries",
    "narrowed",
    "operand_values",
    "relative_energy",
    "sign_magnitude",
    "target_path",
    "target_schema",
    "timing",
]
