"""A solved case on disk: written whole or not at all, and read back for certification and evaluation."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tritier.cases import Case, find_case, judging_instance
from tritier.chance import Block
from tritier.decisions import Decisions
from tritier.errors import InputError
from tritier.instance import Design
from tritier.preset import Preset
from tritier.recourse import DayDecisions
from tritier.study import DesignProof, Prepared, SolvedCase, cleared, prepare

FILES = ("summary.json", "decisions.npz", "trace.csv", "certificate.json", "provenance.json")
PACKAGES = ("numpy", "pandas", "cvxpy", "highspy", "pyscipopt", "power-grid-model")
DAY = "day_"  # prefix of arrays on the design scenarios under the headline policy


def write_case(out: Path, solved: SolvedCase, summary: dict, certificate: dict, seconds: float) -> None:
    """Write all files of a solved case into a fresh folder that then takes the place of ``out``."""
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write_json(fresh / "summary.json", summary)
        write_json(fresh / "certificate.json", certificate)
        write_json(fresh / "provenance.json", provenance(solved.prepared, solved.case.number, seconds))
        solved.trace.to_csv(fresh / "trace.csv", index=False)
        np.savez_compressed(fresh / "decisions.npz", **packed(solved))
        if solved.result is not None:
            solved.result.write_proof(fresh / "proof.npz")
        replace_folder(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def replace_folder(fresh: Path, out: Path) -> None:
    """Put a finished folder in its place; the old one goes only then."""
    old = out.with_name(f".{out.name}-old-{os.getpid()}")
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, default=float) + "\n")


def packed(solved: SolvedCase) -> dict[str, np.ndarray]:
    """All arrays of decisions.npz: the clearing, its blocks by name, and the judged design scenarios."""
    d = solved.decisions
    arrays = dict(d.arrays)
    arrays["blocks"] = np.array([[b.kind, str(b.place), str(b.hour)] for b in d.blocks], dtype=str).reshape(-1, 3)
    arrays["cap_line"] = np.array([str(line) for line, _ in d.design.capacity], dtype=str)
    for name, value in solved.days.arrays.items():
        if name not in ("zb", "zs"):
            arrays[DAY + name] = value
    arrays[DAY + "pi"], arrays[DAY + "bought"] = solved.days.pi, solved.days.bought
    return arrays


def provenance(prepared: Prepared, case: int, seconds: float) -> dict[str, object]:
    """Where a result comes from: commit, versions, data hash, preset, parameters, seed, seconds."""
    return {
        "study": os.path.relpath(prepared.study.folder),
        "study_name": prepared.study.name,
        "case": case,
        "half": prepared.half,
        "preset": prepared.preset.name,
        "parameters": asdict(prepared.preset),
        "changes": prepared.changes,
        "data_hash": prepared.study.data_hash,
        "commit": commit(),
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "seed": prepared.preset.seed,
        "seconds": round(seconds, 2),
    }


def commit() -> str:
    """Commit of the checkout, with '+' where files differ from it; 'unknown' outside a checkout."""

    def git(*words: str) -> str:
        here = Path(__file__).resolve().parent
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    return head + ("+" if git("status", "--porcelain", "--", ".", "../data") else "")


def read_case(folder: Path, study: Path | None = None) -> SolvedCase:
    """A stored case, with its study read again. ``study`` where the study's folder has moved.

    Raises InputError naming the file that is missing or does not fit.
    """
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(folder / name, "file", "is missing", "solve the case again with --out")
    origin = json.loads((folder / "provenance.json").read_text())
    prepared = prepare(study or Path(origin["study"]), origin["preset"], stored_changes(origin), origin["half"])
    if prepared.study.data_hash != origin["data_hash"]:
        raise InputError(
            folder / "provenance.json", "data_hash", "the study's files have changed since", "solve the case again"
        )
    case = find_case(int(origin["case"]))
    clearing = cleared(prepared, case)
    decisions, days = unpacked(folder / "decisions.npz", prepared, case)
    return SolvedCase(prepared, case, clearing, decisions, None, stored_proof(folder), days, None)


def stored_changes(origin: dict) -> dict[str, object]:
    """Changes of the study, and every field of the preset as it was."""
    preset = {k: v for k, v in origin["parameters"].items() if k in Preset.__dataclass_fields__ and k != "name"}
    return preset | {k: v for k, v in origin["changes"].items() if k not in preset}


def stored_proof(folder: Path) -> DesignProof | None:
    """The bounds on record, or None for a case without a menu."""
    design = json.loads((folder / "certificate.json").read_text()).get("design")
    if design is None:
        return None
    keys = DesignProof.__dataclass_fields__
    return DesignProof(**{k: design[k] for k in keys})


def unpacked(path: Path, prepared: Prepared, case: Case) -> tuple[Decisions, DayDecisions]:
    """Decisions and judged days of decisions.npz."""
    with np.load(path, allow_pickle=False) as store:
        arrays = {name: store[name] for name in store.files}
    blocks = tuple(Block(str(k), int(p), int(t)) for k, p, t in arrays.pop("blocks"))
    lines = [int(line) for line in arrays.pop("cap_line")]
    day = {name.removeprefix(DAY): arrays.pop(name) for name in list(arrays) if name.startswith(DAY)}
    limits = tuple(zip(lines, (float(v) for v in arrays["cap"]), strict=True))
    design = Design(tuple(float(t) for t in arrays["tau"]), float(arrays["tau_p"]), limits)
    pi, bought = day.pop("pi"), day.pop("bought")
    day |= {"zb": arrays["zb"], "zs": arrays["zs"]}
    judged = judging_instance(prepared.instance, case, prepared.instance.days)
    return Decisions(design, blocks, arrays), DayDecisions(judged, case.policy, day, pi, bought)
