"""What compensation changed: weights tuned and biases corrected, layer by layer."""

from __future__ import annotations

from alwann_c.report.figures import compact, percent
from alwann_c.report.markup import Column, Html, code, join, section, table, tag
from alwann_c.report.operand_file import LayerOperands
from alwann_c.report.results import Results
from alwann_c.report.shapes import EXACT, bar, unit_class


def compensation_section(results: Results) -> Html:
    """Share of weight codes replaced and mean bias correction of every approximated layer."""
    plan = results.plan
    colours = {unit.name: unit_class(index) for index, unit in enumerate(plan.units)}
    layers = [layer for layer in plan.layers if layer.unit is not None and not layer.excluded]
    method = f" (method: {plan.compensation})" if plan.compensation is not None else ""
    text = (
        f"Free in hardware, and without retraining{method}: weight codes replaced by ones whose"
        " approximate products come closer, and expected errors subtracted in the biases."
    )
    found = results.operands.layers if results.operands is not None else []
    operands = {layer.name: layer for layer in found}
    rows = [
        (
            code(layer.name),
            code(layer.multiplier),
            bar([(layer.changed_weights, colours.get(layer.unit or "", EXACT))], 1.0, outline=1.0),
            percent(layer.changed_weights),
            *_errors(operands.get(layer.name)),
            compact(layer.mean_correction) if layer.mean_correction is not None else "–",
        )
        for layer in layers
    ]
    columns = (
        Column("Layer"),
        Column("Multiplier"),
        Column("Outline: all weights", wide=True),
        Column("Tuned weights", numeric=True),
        Column("Mean step, codes", numeric=True),
        Column("Output error, before", numeric=True),
        Column("after", numeric=True),
        Column("Mean correction", numeric=True),
    )
    caption = (
        "Changes per layer. Output error: root mean square against what the layer should give, in"
        " per cent of its deviation. Corrections: absolute, in units of the layer's output"
    )
    shown = (
        table(caption, columns, rows, css="bars changes")
        if rows
        else tag("p", "Nothing was changed.")
    )
    return section("compensation", "What compensation changed", join([tag("p", text), shown]))


def _errors(layer: LayerOperands | None) -> tuple[str, str, str]:
    """Step of the tuned weights, and the error of the output without and with compensation."""
    if layer is None:
        return "–", "–", "–"
    return (
        compact(layer.weight_changes.mean_step),
        percent(layer.output_error.before),
        percent(layer.output_error.after),
    )
