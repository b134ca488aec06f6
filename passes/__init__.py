"""Passes: IRModule -> IRModule."""
