"""The report of a finished job: one HTML file, self-contained, that opens offline.

`render_report` reads `front.json`, `plan.json` and, where present, `manifest.json` of an output
folder; `write_report` puts the result beside them as `report.html`.
"""

from __future__ import annotations

from alwann_c.report.page import REPORT, render_report, write_report
from alwann_c.report.pictures import write_pictures

__all__ = ["REPORT", "render_report", "write_pictures", "write_report"]
