"""What results show of themselves in a notebook, and as tables.

The report is imported when something is drawn: its results are such views themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alwann_c.frames import Record, front_records, to_frame

if TYPE_CHECKING:
    import pandas

    from alwann_c.plan import Plan
    from alwann_c.report.ranges import FrontData


class FrontView(ABC):
    """A result that holds a front: its rows, its data frame, its picture.

    A subclass says what is drawn, what the columns are called and whose front it is.
    """

    @abstractmethod
    def front_data(self) -> FrontData:
        """The front with its candidates and reference accuracies."""

    @abstractmethod
    def columns(self) -> tuple[list[str], list[str]]:
        """Names of the units and of the layers."""

    @abstractmethod
    def _subject(self) -> str:
        """Network and target."""

    def records(self) -> list[Record]:
        """One flat row per plan of the front, cheapest first; the columns of `front.csv`."""
        data = self.front_data()
        return front_records(data.points, *self.columns(), data.selected)

    def to_frame(self) -> pandas.DataFrame:
        """`records()` as a pandas DataFrame. Raises InputError where pandas is not installed."""
        return to_frame(self.records())

    def __repr__(self) -> str:
        """The chosen plan in one line."""
        data = self.front_data()
        best = data.points[data.selected]
        return (
            f"<{type(self).__name__} of {self._subject()}: front of {len(data.points)}, chosen "
            f"plan saves {1 - best['relative_energy']:.1%} at {best['accuracy']:.2%} "
            f"(float {data.float_accuracy:.2%})>"
        )

    def _repr_html_(self) -> str:
        """The front as a picture and as a table, in a notebook."""
        from alwann_c.report.charts import front_chart
        from alwann_c.report.markup import join, tag
        from alwann_c.report.vega import to_svg

        heading = tag("p", tag("b", self._subject()))
        return join([heading, to_svg(front_chart(self.front_data())), _table(self.records())])


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _table(records: Sequence[Record]) -> str:
    from alwann_c.report.markup import Column, table, tag

    heads = ("Saved, %", "Accuracy, %", "Drop", "95 % interval", "Test, %", "Drop", "Multipliers")
    columns = [Column("Plan"), *(Column(head) for head in heads)]
    rows = []
    for row in records:
        units = [str(value) for key, value in row.items() if key.startswith("unit ")]
        name = f"{row['point']}{' (chosen)' if row['selected'] else ''}"
        rows.append(
            [
                tag("b", name) if row["selected"] else name,
                _percent(1 - row["relative_energy"]),
                _percent(row["accuracy"]),
                _percent(row["drop"]),
                f"{_percent(row['drop_low'])} to {_percent(row['drop_high'])}",
                _percent(row["test_accuracy"]),
                _percent(row["test_drop"]),
                ", ".join(units),
            ]
        )
    return table("Plans of the front, cheapest first; drops in points against float", columns, rows)


def plan_html(plan: Plan) -> str:
    """A plan as a table of its layers."""
    from alwann_c.report.markup import Column, table, tag

    columns = [
        Column("Layer"),
        Column("Kind"),
        Column("MACs", numeric=True),
        Column("Unit"),
        Column("Multiplier"),
        Column("Energy of exact, %", numeric=True),
        Column("Tuned weights, %", numeric=True),
    ]
    rows = [
        [
            layer.name,
            layer.kind,
            f"{layer.macs:,}",
            layer.unit or "(exact)",
            layer.multiplier,
            _percent(layer.relative_cost),
            _percent(layer.changed_weights),
        ]
        for layer in plan.layers
    ]
    caption = (
        f"{plan.model['name']} on {plan.target}: {100 * plan.relative_energy:.1f} % of the exact "
        f"multiplication energy, compensation: {plan.compensation}"
    )
    return tag("div", table(caption, columns, rows))
