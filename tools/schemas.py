"""Prints the JSON Schema of a file format: `python tools/schemas.py plan`; without a name, the names."""

from __future__ import annotations

import json
import sys

from pydantic import BaseModel

from alwann_c.dataset import DatasetFile
from alwann_c.deploy import Manifest
from alwann_c.plan import Plan
from alwann_c.report.operand_file import Operands
from alwann_c.report.results import Front
from alwann_c.targets.library_file import LibraryFile
from alwann_c.targets.schema import Target

SCHEMAS: dict[str, type[BaseModel]] = {
    "dataset": DatasetFile,
    "library": LibraryFile,
    "target": Target,
    "plan": Plan,
    "manifest": Manifest,
    "front": Front,
    "operands": Operands,
}


def main() -> int:
    """Entry point."""
    if len(sys.argv) < 2:
        print("\n".join(SCHEMAS))
        return 0
    if sys.argv[1] not in SCHEMAS:
        print(f"error: {sys.argv[1]}: give one of: {', '.join(SCHEMAS)}", file=sys.stderr)
        return 2
    schema = SCHEMAS[sys.argv[1]].model_json_schema(by_alias=True)
    print(
        json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1)
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
