"""Building HTML in which everything is escaped unless its type says that it is markup already."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Attribute = str | int | float | bool | None

SHORT_NAME = 16

_VOID = frozenset({"br", "input"})
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")


class Html(str):
    """Markup. Operations of `str` return plain text again, which is escaped: the safe mistake."""

    __slots__ = ()


def escape(text: str) -> Html:
    """Text as markup: HTML-escaped, control characters replaced. Markup is returned as it is."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text), quote=True))


def join(parts: Iterable[str]) -> Html:
    """The parts one after another, plain text escaped."""
    return Html("".join(escape(part) for part in parts))


def tag(name: str, /, *children: str, **attributes: Attribute) -> Html:
    """An element. Text children are escaped.

    Attribute names: a trailing underscore is dropped, others become hyphens (`class_`,
    `aria_label`). None and False leave an attribute out, True writes it without a value.
    """
    written = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        written.append(label if value is True else f'{label}="{escape(str(value))}"')
    opening = f"<{' '.join(written)}>"
    return Html(opening if name in _VOID else f"{opening}{join(children)}</{name}>")


def code(text: str) -> Html:
    """A name that came from outside; short ones stay on one line."""
    return tag("code", text, class_="short" if len(text) <= SHORT_NAME else "long")


@dataclass(frozen=True)
class Column:
    """Heading of a table's column; figures stand on the right, `wide` ones take spare width."""

    heading: str
    numeric: bool = False
    wide: bool = False

    @property
    def css(self) -> str | None:
        """CSS class of the column's cells."""
        return "num" if self.numeric else "wide" if self.wide else None


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    *,
    total: Sequence[str] | None = None,
    css: str | None = None,
) -> Html:
    """A table with a caption, whose first column heads the rows; a cell may be a whole `<td>`."""
    heads = [tag("th", c.heading, scope="col", class_=c.css) for c in columns]
    body = [_row(columns, row) for row in rows]
    foot = tag("tfoot", _row(columns, total)) if total is not None else Html()
    whole = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *body),
        foot,
        class_=css,
    )
    return tag("div", whole, class_="scroll")


def _row(columns: Sequence[Column], cells: Sequence[str]) -> Html:
    written = [tag("th", cells[0], scope="row")]
    for column, cell in zip(columns[1:], cells[1:], strict=True):
        ready = isinstance(cell, Html) and cell.startswith("<td")
        written.append(escape(cell) if ready else tag("td", cell, class_=column.css))
    return tag("tr", *written)


def section(identifier: str, heading: str, *children: str) -> Html:
    """A part of the report under its own heading."""
    title = f"{identifier}-title"
    return tag(
        "section", tag("h2", heading, id=title), *children, id=identifier, aria_labelledby=title
    )


def data_block(identifier: str, data: Any) -> Html:
    """JSON for the page's script, which nothing inside can close or turn into markup."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return tag("script", Html(text), type="application/json", id=identifier)
