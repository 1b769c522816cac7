"""What several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option(help="Folder of a canonical dataset.")]
SAMPLE = Path(__file__).parent.parent / "simulator" / "sample"
