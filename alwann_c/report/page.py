"""The whole page: sections put into the template, with a policy that forbids anything external."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from string import Template

from alwann_c.atomic import write_text
from alwann_c.report import vega
from alwann_c.report.assignment import assignment_section
from alwann_c.report.compensation import compensation_section
from alwann_c.report.energy import energy_section
from alwann_c.report.headline import headline, subtitle
from alwann_c.report.markup import code, escape, join
from alwann_c.report.operands import operands_section
from alwann_c.report.points import front_section
from alwann_c.report.provenance import provenance_section
from alwann_c.report.results import load_results
from alwann_c.report.timing import timing_section

REPORT = "report.html"


def render_report(directory: Path) -> str:
    """The report on the results in `directory` as one HTML document.

    Nothing in it refers to another file or host, which its content security policy also enforces:
    only the style and the script of this package run, by their hashes. The same files give the
    same document. Raises InputError, one line naming file, field and remedy, where `front.json` or
    `plan.json` is missing or any of the files is damaged or of another version.
    """
    results = load_results(directory)
    front = results.front
    style, own, library = _asset("style.css"), _asset("report.js"), vega.script()
    body = [
        headline(results),
        front_section(results),
        assignment_section(results),
        energy_section(results),
        operands_section(results),
        compensation_section(results),
        timing_section(front),
        provenance_section(results),
    ]
    return Template(_asset("page.html")).substitute(
        policy=escape(
            f"default-src 'none'; img-src data:; style-src '{_hash(style)}';"
            f" script-src '{_hash(library)}' '{_hash(own)}'; base-uri 'none'; form-action 'none'"
        ),
        title=escape(f"{front.model.name} on {front.target}"),
        model=code(front.model.name),
        subtitle=subtitle(front),
        body=join(body),
        tool=escape(front.tool),
        style=style,
        library=library,
        script=own,
    )


def write_report(directory: Path) -> Path:
    """Writes the report into `directory`, replacing an older one at once; returns its path.

    Raises InputError as `render_report` does, and where it cannot be written.
    """
    path = directory / REPORT
    write_text(path, render_report(directory))
    return path


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
