"""Circuits of least power within error bounds, by evolution; needs numba."""

STATE_FILE = "evolution.json"
"""What a campaign keeps of its finished circuits, in its folder."""
