"""The pictures of the report as files, for papers and slides."""

from __future__ import annotations

from pathlib import Path

from alwann_c.atomic import output_folder, replacing
from alwann_c.errors import InputError
from alwann_c.report.charts import Spec, front_chart
from alwann_c.report.plan_charts import assignment_chart, energy_chart, error_chart, operand_chart
from alwann_c.report.ranges import views
from alwann_c.report.results import Results, load_results
from alwann_c.report.vega import to_pdf, to_png, to_svg


def pictures(results: Results) -> dict[str, Spec]:
    """Every picture there is data for, by the name of its file."""
    data = results.front.drawn
    drawn = {"front": front_chart(data)}
    shown = views(data)
    if len(shown) > 1:
        drawn["front-all"] = front_chart(data, view=shown[1])
    drawn["assignment"] = assignment_chart(results.plan)
    if results.plan.energy is not None:
        drawn["energy"] = energy_chart(results.plan.energy)
    if results.operands is not None and results.operands.layers:
        drawn["operands"] = operand_chart(results.operands)
        drawn["error"] = error_chart(results.operands)
    return drawn


def write_pictures(directory: Path, into: Path, form: str, *, scale: float = 2) -> list[Path]:
    """Draws the results in `directory` into the folder `into`, as `svg`, `png` or `pdf`.

    `scale`: pixels per point of a png. Raises InputError as `load_results` does, and where
    `into` cannot be written.
    """
    drawn = pictures(load_results(directory))
    folder = output_folder(into)
    return [
        _write(folder / f"{name}.{form}", _drawn(spec, form, scale)) for name, spec in drawn.items()
    ]


def _drawn(spec: Spec, form: str, scale: float) -> bytes:
    if form == "svg":
        return to_svg(spec).encode()
    return to_png(spec, scale) if form == "png" else to_pdf(spec)


def _write(path: Path, content: bytes) -> Path:
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as e:
        raise InputError(f"{path}: cannot write: {e.strerror or e}") from e
    return path
