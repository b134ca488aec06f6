"""Hand-off to hardware: arrays, tables, golden vectors and a SystemVerilog reference of a plan."""

from alwann_c.rtl.export import export_rtl

__all__ = ["export_rtl"]
