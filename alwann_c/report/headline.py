"""The headline: what is saved at what accuracy, and whether the limit is kept."""

from __future__ import annotations

from alwann_c.report.figures import count, interval, percent, points
from alwann_c.report.markup import Column, Html, code, section, table, tag
from alwann_c.report.results import Front, Results


def headline(results: Results) -> Html:
    """Three figures, a sentence that judges them, and the accuracies as a table."""
    front = results.front
    best = front.chosen
    place, drop, bounds, images = _judged(front)
    accuracy = best.accuracy if place == "search" else best.test_accuracy
    cards = [
        (percent(1.0 - best.relative_energy), "of multiplication energy saved", ""),
        (
            percent(accuracy or 0.0, 2),
            f"accuracy on {place} data",
            f"float {percent(_reference(front, place), 2)}",
        ),
        (
            f"{points(drop)} points",
            "accuracy lost against float" if drop >= 0 else "lost, that is, won, against float",
            f"95 % interval {interval(bounds)}; {count(images, f'{place} image')}",
        ),
    ]
    drawn = [
        tag("div", tag("dt", text), tag("dd", tag("strong", value), tag("span", note)))
        for value, text, note in cards
    ]
    doubt = "" if results.agree else _doubt()
    return section(
        "result",
        "Result",
        tag("dl", *drawn, class_="cards"),
        doubt,
        tag(
            "div",
            _accuracies(front),
            tag(
                "div",
                tag("p", _verdict(front.max_drop, drop, bounds, place), class_="verdict"),
                tag("p", _caveats(front), class_="note"),
            ),
            class_="split",
        ),
    )


def _caveats(front: Front) -> str:
    layers = count(len(front.layers), "approximable layer")
    test = "no test data was given" if front.data.test is None else "the test images chose nothing"
    return (
        f"Energy is that of the multiplications in {layers}, relative to exact multipliers. Drops"
        " are paired: the same images through both networks. The search images chose the plan,"
        f" which flatters it; {test}."
    )


def subtitle(front: Front) -> Html:
    """Target, libraries and effort in one line."""
    libraries: list[str] = []
    for library in front.libraries:
        libraries += [", " if libraries else "", code(library.name)]
    return tag(
        "p",
        "on ",
        code(front.target),
        f" ({front.architecture}), multipliers of ",
        *libraries,
        f"; {count(front.evaluations, 'plan')} evaluated by {front.tool}",
        class_="subtitle",
    )


def _judged(front: Front) -> tuple[str, float, tuple[float, float], int]:
    """The data the headline speaks of: test where the plan was judged on it, else search."""
    best, test = front.chosen, front.data.test
    if test is None or None in (best.test_accuracy, best.test_drop, best.test_drop_ci95):
        return "search", best.drop, best.drop_ci95, front.data.search.images
    assert best.test_drop is not None
    assert best.test_drop_ci95 is not None
    return "test", best.test_drop, best.test_drop_ci95, test.images


def _reference(front: Front, place: str) -> float:
    accuracy = front.float_accuracy
    return accuracy.search if place == "search" or accuracy.test is None else accuracy.test


def _verdict(limit: float, drop: float, bounds: tuple[float, float], place: str) -> str:
    allowed = f"the limit of {points(limit)} points"
    if max(bounds) <= limit:
        return f"The whole 95 % interval on {place} data keeps {allowed}."
    if drop <= limit:
        return (
            f"The drop on {place} data keeps {allowed}; its 95 % interval reaches beyond, up to"
            f" {points(max(bounds))}. More images would narrow it."
        )
    if min(bounds) <= limit:
        return (
            f"The drop on {place} data is above {allowed}, but its 95 % interval, from"
            f" {points(min(bounds))}, still holds it. More images would narrow it."
        )
    return f"The drop on {place} data breaks {allowed}: its whole 95 % interval lies above."


def _doubt() -> Html:
    return tag(
        "p",
        "plan.json states another relative energy than the selected point of front.json: the two"
        " files seem to come from different runs.",
        class_="warning",
        role="note",
    )


def _accuracies(front: Front) -> Html:
    best, test = front.chosen, front.data.test
    columns = [
        Column("Network"),
        Column(f"Search, n = {front.data.search.images:,}", numeric=True),
    ]
    rows: list[list[str]] = [
        ["Float", percent(front.float_accuracy.search, 2)],
        ["Exact int8", percent(front.int8_accuracy.search, 2)],
        ["Selected plan", percent(best.accuracy, 2)],
        ["Drop against float, points", points(best.drop)],
        ["95 % interval", interval(best.drop_ci95)],
    ]
    if test is not None:
        columns.append(Column(f"Test, n = {test.images:,}", numeric=True))
        bounds = best.test_drop_ci95
        accuracies = (front.float_accuracy.test, front.int8_accuracy.test, best.test_accuracy)
        column = [percent(a, 2) if a is not None else "–" for a in accuracies]
        column.append(points(best.test_drop) if best.test_drop is not None else "–")
        column.append(interval(bounds) if bounds is not None else "–")
        for row, cell in zip(rows, column, strict=True):
            row.append(cell)
    return table("Accuracy", columns, rows, css="compact")
