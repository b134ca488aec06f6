"""Where the models, data and tables that do not ship are; docs/reproduce.md says what they are."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "ALWANN_SHARED"

SHARED = Path(os.environ.get(VARIABLE) or Path(__file__).resolve().parents[2] / "shared")
"""The folder that `ALWANN_SHARED` names, else `shared` beside the repository."""

NEEDED = f"needs the models and data of docs/reproduce.md in ../shared, or in the folder {VARIABLE}"
"""Why something is skipped without it."""
