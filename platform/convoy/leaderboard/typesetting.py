"""Tables as text: Markdown, LaTeX and CSV, from cells that are strings."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from convoy.records import Json


@dataclass(frozen=True)
class Sheet:
    """A table that is ready to be set.

    Attributes:
        title: Above it.
        headings: Of the columns.
        lines: Cells, as many as headings.
        left: Headings of columns set flush left; the others are figures.
        bold: Cells that stand out, as (line, column).
        notes: Below it.
    """

    title: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]
    left: Collection[str] = ()
    bold: Collection[tuple[int, int]] = ()
    notes: Sequence[str] = ()


def csv_text(lines: Sequence[Mapping[str, Json]], *, columns: Sequence[str]) -> str:
    """Return CSV with a line of headings, which stands there without lines, too."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def markdown(sheet: Sheet) -> str:
    """Return a pipe table, its title above it and its notes below."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    sides = ["---" if name in sheet.left else "---:" for name in sheet.headings]
    rows = [line(cells) for cells in sheet.lines]
    head = [f"**{sheet.title}**", "", line(sheet.headings), line(sides)]
    return "\n".join([*head, *rows, "", "; ".join(sheet.notes), ""])


def latex(sheet: Sheet) -> str:
    """Return a ``tabular`` (package booktabs), title and notes as footnotes."""
    lines = []
    for number, cells in enumerate(sheet.lines):
        set_cells = [escape(cell) for cell in cells]
        for column in range(len(set_cells)):
            if (number, column) in sheet.bold:
                set_cells[column] = rf"\textbf{{{set_cells[column]}}}"
        lines.append("  " + " & ".join(set_cells) + r" \\")
    span = rf"\multicolumn{{{len(sheet.headings)}}}"
    sides = "".join("l" if name in sheet.left else "r" for name in sheet.headings)
    notes = [
        rf"  {span}{{l}}{{\footnotesize {escape(note)}}} \\" for note in (sheet.title, *sheet.notes)
    ]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{sides}}}",
            r"  \toprule",
            "  " + " & ".join(escape(name) for name in sheet.headings) + r" \\",
            r"  \midrule",
            *lines,
            r"  \bottomrule",
            *notes,
            r"\end{tabular}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Return a text that LaTeX prints as it stands."""
    return text.translate(_LATEX)


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "·": r"$\cdot$",
    }
)
