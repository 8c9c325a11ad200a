"""The text of an answer on its way to people: tables on a terminal, plain columns anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TextIO

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ...kernel.wording import printable
from ..commands.text import Piece, Table


def show(pieces: Iterable[Piece], out: TextIO) -> None:
    """Write the pieces as they come. What came from outside cannot move the cursor or set colours."""
    is_terminal = out.isatty()
    for piece in pieces:
        if not isinstance(piece, Table):
            out.write(f"{piece}\n")
        elif is_terminal:
            _draw(piece, Console(file=out, markup=False, highlight=False, emoji=False))
        else:
            out.writelines(f"{line}\n" for line in _columns(piece))
        out.flush()


def _columns(table: Table) -> Iterator[str]:
    """Its rows for a file or a pipe: never broken, and as long as what is in them."""
    rows = [table.headings, *([printable(cell) for cell in row] for row in table.rows)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _draw(table: Table, console: Console) -> None:
    if _narrowest(table) > console.width:
        console.print("\n\n".join(_records(table)), soft_wrap=True)
        return
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in table.headings:
        drawn.add_column(heading, no_wrap=_stands_in_one_line(heading), overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    console.print(drawn)


def _stands_in_one_line(heading: str) -> bool:
    return heading.replace("_", " ") in ("JOB ID", "STATUS", "SUBMIT TIME")


def _narrowest(table: Table) -> int:
    """Columns of a terminal in which a table can still be read: what must stand in one line, and a word of the rest."""
    cells = [[row[at] for row in table.rows] if _stands_in_one_line(heading) else [] for at, heading in enumerate(table.headings)]
    widths = [max(8, *map(len, [heading, *its])) for heading, its in zip(table.headings, cells, strict=True)]
    return sum(widths) + 3 * (len(widths) - 1)


def _records(table: Table) -> Iterator[str]:
    """Its rows for a terminal that is too narrow: a line for each cell that is not empty."""
    widest = max(map(len, table.headings))
    for row in table.rows:
        yield "\n".join(f"{heading:<{widest}}  {printable(cell)}" for heading, cell in zip(table.headings, row, strict=True) if cell)
