"""`python -m benchmarks [NAME ...] [--quick] [--write]`: measure, print the tables, put them into README.md."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.machine import facts
from benchmarks.measure import QUICK_ROUNDS, ROUNDS, Size, Table

NAMES = ("in_process", "http_submit", "processes", "warm", "remote", "slurm", "ray", "fold", "pick", "scale", "twin")
README = Path(__file__).parent / "README.md"
LIMIT_S = 1_800  # `scale` goes up to a million jobs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a short look: small sizes, two rounds")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)  # where the one table of a child goes
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    if given.to is not None:
        given.to.write_bytes(msgspec.json.encode(measure(given.names[0], quick=given.quick)))
        return 0
    here = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {facts()}"
    print(here, flush=True)
    tables = []
    for name in given.names or NAMES:
        table = in_own_process(name, quick=given.quick)
        print(f"\n## {name}\n\n{table.markdown()}", flush=True)
        tables.append(table)
    if given.write:
        write(here, tables)
    return 0


def measure(name: str, *, quick: bool) -> Table:
    """Run one benchmark here."""
    size = Size(rounds=QUICK_ROUNDS if quick else ROUNDS, quick=quick)
    found: Table = asyncio.run(importlib.import_module(f"benchmarks.{name}").run(size))
    return found


def in_own_process(name: str, *, quick: bool) -> Table:
    """Each in a process of its own, so that none inherits the memory of the one before."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        to = Path(folder) / "table.json"
        command = [sys.executable, "-m", "benchmarks", name, "--to", str(to), *(["--quick"] if quick else [])]
        subprocess.run(command, check=True, timeout=LIMIT_S)
        return msgspec.json.decode(to.read_bytes(), type=Table)


def write(here: str, tables: list[Table]) -> None:
    """Replace what stands between the markers of each table, and what is said about the machine."""
    text = README.read_text(encoding="utf-8")
    for name, body in [("machine", here), *((table.name, table.markdown()) for table in tables)]:
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, found = between.subn(lambda match, body=body: f"{match[1]}{body}\n{match[2]}", text)  # type: ignore[misc]
        if not found:
            raise SystemExit(f"{README} has no place for {name}: add <!-- {name} --> and <!-- /{name} -->")
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
