"""Writing files whole: a reader never sees half of one, and a failed command leaves nothing behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl


def write_whole(tables: dict[Path, pl.DataFrame], metadata: dict[str, str] | None = None) -> None:
    """Write Parquet files beside their destinations, then move all of them there."""
    staged: list[tuple[Path, Path]] = []
    try:
        for path, table in tables.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as handle:
                staged.append((Path(handle.name), path))
            table.write_parquet(staged[-1][0], metadata=metadata)
        for temporary, path in staged:
            temporary.chmod(0o644)
            temporary.rename(path)
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
