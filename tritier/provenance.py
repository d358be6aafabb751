"""Where a result comes from: hashes of what it is made of."""

from __future__ import annotations

import hashlib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def digest(content: str | bytes) -> str:
    """First 16 hex digits of SHA-256."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


def tree_hash(folder: Path, pattern: str = "*") -> str:
    """Hash of the names and contents of all files below a folder that match, caches left out."""
    files = [p for p in sorted(folder.rglob(pattern)) if p.is_file() and "__pycache__" not in p.parts]
    return digest("\n".join(f"{p.relative_to(folder).as_posix()} {digest(p.read_bytes())}" for p in files))


def package_hash(folder: Path = PACKAGE) -> str:
    """Hash of every module of the package, subpackages included."""
    return tree_hash(folder, "*.py")
