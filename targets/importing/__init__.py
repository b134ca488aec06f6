"""Multipliers from other people's files: product tables, C functions, Verilog and BLIF netlists."""

from alwann_c.targets.importing.collect import Choices, Imported, import_files
from alwann_c.targets.importing.merge import add_to_library

__all__ = ["Choices", "Imported", "add_to_library", "import_files"]
