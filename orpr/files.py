"""Writing files whole: a reader never sees half of one, and a failed command leaves nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl


def write_whole(tables: dict[Path, pl.DataFrame], metadata: dict[str, str] | None = None) -> None:
    """Write Parquet files beside their destinations, then move all of them there."""
    _write({path: partial(table.write_parquet, metadata=metadata) for path, table in tables.items()})


def write_bytes_whole(path: Path, content: bytes) -> None:
    """The same with one file of any form."""
    _write({path: partial(Path.write_bytes, data=content)})


def _write(files: dict[Path, Callable[[Path], object]]) -> None:
    staged: list[tuple[Path, Path]] = []
    try:
        for path, write in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as handle:
                staged.append((Path(handle.name), path))
            write(staged[-1][0])
        for temporary, path in staged:
            temporary.chmod(0o644)
            temporary.rename(path)
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
