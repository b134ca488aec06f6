"""What the multipliers really see: histograms of the operands, and the error on them."""

from __future__ import annotations

from alwann_c.report.figures import compact, count
from alwann_c.report.markup import Html, code, join, section, tag
from alwann_c.report.operand_file import LayerOperands, Operands
from alwann_c.report.results import Results
from alwann_c.report.shapes import histogram, swatch, unit_class, unit_label


def operands_section(results: Results) -> Html:
    """A card per layer: codes of activations and weights, error of the multiplier on them."""
    operands = results.operands
    if operands is None or not operands.layers:
        told = tag("p", "The folder holds no operands.json; `alwann-c compile` writes it.")
        return section("operands", "Operands", told)
    keys = [
        tag("li", swatch("h-activation"), " activation codes"),
        tag("li", swatch("h-weight"), " weight codes, before tuning"),
    ]
    cards = [_card(results, operands, layer) for layer in operands.layers]
    return section(
        "operands",
        "Operands, and the error on them",
        tag(
            "p",
            f"Codes counted on {count(operands.images, 'calibration image')} in the approximate"
            " network; heights are roots of the counts, so that rare codes show. A multiplier's"
            " published error takes all operands as equally likely; these layers do not.",
        ),
        tag("ul", *keys, class_="legend"),
        tag("div", *cards, class_="operand-cards"),
    )


def _card(results: Results, operands: Operands, layer: LayerOperands) -> Html:
    units = {unit.name: index for index, unit in enumerate(results.plan.units)}
    placed = next((p.unit for p in results.plan.layers if p.name == layer.name), None)
    unit = unit_label(placed, unit_class(units[placed])) if placed in units else Html()
    circuit = results.plan.multipliers.get(layer.multiplier)
    error = layer.product_error
    facts = [
        ("error, all operands", compact(circuit.mae) if circuit and circuit.mae else None),
        ("error, these operands", compact(error.absolute)),
        ("its mean, with sign", compact(error.mean)),
        ("product", compact(error.product)),
    ]
    rows = [
        tag("div", tag("dt", name), tag("dd", value)) for name, value in facts if value is not None
    ]
    first = operands.first_code
    picture = histogram(
        [(layer.activations, "h-activation"), (layer.weights, "h-weight")],
        f"Codes of {layer.name}, from {first} to {first + 255}",
    )
    scale = [tag("span", str(first + at)) for at in (0, 128, 255)]
    return tag(
        "article",
        tag("h3", code(layer.name), " ", tag("small", join([unit, " ", code(layer.multiplier)]))),
        picture,
        tag("div", *scale, class_="codes", aria_hidden="true"),
        tag("p", "Of one product, mean absolute:", class_="note"),
        tag("dl", *rows, class_="facts"),
        class_="operand-card",
    )
