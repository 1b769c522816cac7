"""Where a result comes from: hashes of its data, the commit of its code, the command that made it."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from pathlib import Path


def folder_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of a dataset's files."""
    if not folder.is_dir():
        raise ValueError(f"data: there is no folder {folder}")
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".parquet", ".csv", ".json")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code_commit() -> str:
    """The commit of the checkout this runs from; "unknown" outside one, "+changes" where files differ from it."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603, S607 - fixed words
    return done.stdout.strip()


def command_line() -> str:
    """The `orpr` command that runs now, as one would type it again."""
    return shlex.join(["orpr", *sys.argv[1:]])
