"""`python -m benchmarks [w1|w2|w3|w4|w5|all] [--json] [--page FILE]`: measure, and print one table. It judges nothing: machines differ."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from .digits import digits
from .figures import Figure, number, table_of
from .machine import describe_machine
from .page import write_page
from .peers import peer_table
from .program import keep_bytecode
from .rounds import large_rounds, small_rounds
from .sites import many_sites
from .startup import startups

WORKLOADS: dict[str, Callable[[], Iterator[Figure]]] = {
    "w1": small_rounds, "w2": large_rounds, "w3": many_sites, "w4": startups, "w5": digits,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workload", nargs="?", default="all", choices=[*WORKLOADS, "all"])
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the tables")
    parser.add_argument("--page", type=Path, help="write the figures into this page, too: docs/performance.md")
    asked = parser.parse_args()
    keep_bytecode()
    machine = describe_machine()
    figures = []
    for name, measure in WORKLOADS.items():
        if asked.workload in (name, "all"):
            for figure in measure():
                _show_progress(figure)
                figures.append(figure)
    if asked.page:
        write_page(asked.page, machine, figures)
    if asked.json:
        print(json.dumps({"machine": machine, "figures": [figure.document() for figure in figures]}, indent=1))
    else:
        _print_tables(machine, figures)


def _print_tables(machine: str, figures: Sequence[Figure]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(machine, highlight=False)
    console.print(table_of(figures))
    console.print(peer_table(figures))


def _show_progress(figure: Figure) -> None:
    value = figure.problem if figure.ours is None else f"{number(figure.ours)} {figure.unit}"
    print(f"{figure.workload} {figure.title}: {value}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
