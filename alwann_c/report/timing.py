"""Where the time of the run went."""

from __future__ import annotations

from alwann_c.report.figures import compact, percent, seconds
from alwann_c.report.markup import Column, Html, section, table, tag
from alwann_c.report.results import Front
from alwann_c.report.shapes import bar


def timing_section(front: Front) -> Html:
    """The stages in their order, the rest of the total as `other`."""
    stages = {name: value for name, value in front.seconds.items() if name != "total"}
    known = sum(stages.values())
    total = max(front.seconds.get("total", known), known)
    if total <= 0:
        return section("time", "Time", tag("p", "front.json holds no times."))
    if total - known > 0.005 * total:
        stages["other"] = total - known
    longest = max(stages.values(), default=0.0)
    rows = [
        (name, bar([(value, "u0")], longest), seconds(value), percent(value / total))
        for name, value in stages.items()
    ]
    columns = (
        Column("Stage"),
        Column("Duration", wide=True),
        Column("Time", numeric=True),
        Column("Share", numeric=True),
    )
    told = f"{seconds(total)} in all."
    search = front.seconds.get("search", 0.0)
    if search > 0:
        told += (
            f" The search evaluated {front.evaluations:,} plans,"
            f" {compact(front.evaluations / search)} per second;"
            f" {front.stopped_early:,} of them were stopped early."
        )
    shown = table("Stages", columns, rows, total=("total", "", seconds(total), ""), css="bars")
    return section("time", "Time", tag("p", told), shown)
