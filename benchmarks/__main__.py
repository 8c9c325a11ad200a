"""`python -m benchmarks [w1|w2|w4|w5|all] [--json]`: measures, and prints one table. It judges nothing: machines differ."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator

from rich.console import Console

from sundog.kits.workspace.log import start_command_logging

from .digits import digits
from .figures import Figure, table_of
from .machine import describe_machine
from .rounds import large_rounds, small_rounds
from .startup import startups

WORKLOADS: dict[str, Callable[[], Iterator[Figure]]] = {"w1": small_rounds, "w2": large_rounds, "w4": startups, "w5": digits}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workload", nargs="?", default="all", choices=[*WORKLOADS, "all"])
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    asked = parser.parse_args()
    start_command_logging()
    machine = describe_machine()
    figures = []
    for name, measure in WORKLOADS.items():
        if asked.workload in (name, "all"):
            for figure in measure():
                print(f"{figure.workload} {figure.what}: {figure.ours:.4g} {figure.unit}", file=sys.stderr, flush=True)
                figures.append(figure)
    if asked.json:
        print(json.dumps({"machine": machine, "figures": [figure.document() for figure in figures]}, indent=1))
        return
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(machine, highlight=False)
    console.print(table_of(figures))


if __name__ == "__main__":
    main()
