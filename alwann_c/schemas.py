"""The JSON Schema of every file format that has one."""

from __future__ import annotations

from typing import Any

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


def schema_of(name: str) -> dict[str, Any]:
    """The schema of a format of `SCHEMAS`, with the keys that files have."""
    schema = SCHEMAS[name].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
