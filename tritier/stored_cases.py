"""Cases at preset paper as they are stored with the data, so that a book at that preset need not solve them again.

``data/results/cases/run.py`` makes them. They count only where data, preset, half and changes are the same; whoever
reads one certifies it again.
"""

from __future__ import annotations

from pathlib import Path

from tritier.store import read_case, read_json
from tritier.study import Prepared, SolvedCase, solve_case

FOLDER = Path(__file__).resolve().parents[1] / "data" / "results" / "cases"
# name of a set: design half of the season, changes of study.yaml
SETS: dict[str, tuple[str, dict[str, object]]] = {
    "odd": ("odd", {}),
    "even": ("even", {}),
    "more-pv": ("odd", {"renewables.pv_scale": 1.5}),
}


def made_from(folder: Path, prepared: Prepared) -> bool:
    """Whether a stored case was made from these data with these parameters."""
    if not (folder / "provenance.json").is_file():
        return False
    origin = read_json(folder / "provenance.json")
    mine = (prepared.study.data_hash, prepared.changes, prepared.preset.name, prepared.half)
    return tuple(origin.get(key) for key in ("data_hash", "changes", "preset", "half")) == mine


def stored(prepared: Prepared, number: int) -> Path | None:
    """Folder of the stored case that was made from these data with these parameters, or None."""
    folders = (FOLDER / name / f"case-{number}" for name in SETS)
    return next((folder for folder in folders if made_from(folder, prepared)), None)


def read_or_solve(prepared: Prepared, number: int) -> SolvedCase:
    """A case as it is stored for these data and parameters, else solved here. Its certificates are the reader's to
    recompute."""
    folder = stored(prepared, number)
    return solve_case(prepared, number) if folder is None else read_case(folder, prepared.study.folder)


def origin(prepared: Prepared, number: int) -> str:
    """Where :func:`read_or_solve` takes a case from, in words."""
    folder = stored(prepared, number)
    if folder is None:
        return "solved on this page"
    made = read_json(folder / "provenance.json")
    place = folder.relative_to(FOLDER.parents[2]).as_posix()
    return (
        f"read from {place}, solved by commit {made['commit']} in {made['seconds']:.0f} s, and certified on this page"
    )
