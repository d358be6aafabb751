"""A solved case on disk: written whole or not at all, and read back for certification and evaluation."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from tritier.cases.cases import Case, find_case, judging_instance
from tritier.cases.decisions import Decisions
from tritier.cases.recourse import AHEAD, UNWEIGHED, DayDecisions
from tritier.cases.solve import DesignProof, Prepared, SolvedCase, cleared, prepare, solve_case
from tritier.errors import InputError
from tritier.inputs.documents import read_json
from tritier.inputs.instance import Design, Instance
from tritier.inputs.settings import Preset
from tritier.model.chance import KINDS, Block
from tritier.model.prosumer import all_data, decision_shapes
from tritier.provenance import commit, naming, own_folder, versions, whole_folder, write_json
from tritier.reformulation.joint import JointLP
from tritier.search import pool as hybrid_state
from tritier.search.ends import ENDS
from tritier.search.hybrid import COLUMNS
from tritier.search.pool import Pool

FILES = ("summary.json", "decisions.npz", "trace.csv", "certificate.json", "provenance.json")
LATER = ("proof.npz", "physics.json", "evaluation.csv")  # what a result may hold besides
ORIGIN = {"study": str, "case": int, "half": str, "preset": str, "parameters": dict, "changes": dict, "data_hash": str}
WORDS = ("blocks", "cap_line")  # arrays of text in decisions.npz
AGAIN = "solve the case again with --out"
DAY = "day_"  # prefix of arrays on the design scenarios under the headline policy


def check_out(out: Path) -> Path:
    """The folder a case may go to (:func:`tritier.provenance.own_folder`)."""
    return own_folder(out, FILES + LATER)


def write_case(out: Path, solved: SolvedCase, summary: dict, certificate: dict, seconds: float) -> None:
    """Write all files of a solved case into a fresh folder that then takes the place of ``out``."""
    out = check_out(Path(out))
    with whole_folder(out) as fresh:
        write_json(fresh / "summary.json", summary)
        write_json(fresh / "certificate.json", certificate)
        write_json(fresh / "provenance.json", provenance(solved.prepared, solved.case.number, seconds, out))
        with naming(fresh / "trace.csv"):
            solved.trace.to_csv(fresh / "trace.csv", index=False)
        with naming(fresh / "decisions.npz"):
            np.savez_compressed(fresh / "decisions.npz", **packed(solved))
        if solved.result is not None:
            with naming(fresh / "proof.npz"):
                solved.result.write_proof(fresh / "proof.npz")


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


def provenance(prepared: Prepared, case: int, seconds: float, out: Path) -> dict[str, object]:
    """Where a result comes from: study (as seen from ``out``), commit, versions, data hash, preset, parameters."""
    return {
        "study": os.path.relpath(prepared.study.folder.resolve(), out),
        "study_name": prepared.study.name,
        "case": case,
        "half": prepared.half,
        "preset": prepared.preset.name,
        "parameters": asdict(prepared.preset),
        "changes": prepared.changes,
        "data_hash": prepared.study.data_hash,
        "commit": commit(),
        "versions": versions(),
        "seed": prepared.preset.seed,
        "seconds": round(seconds, 2),
    }


def read_case(folder: Path, study: Path | None = None) -> SolvedCase:
    """A stored case, with its study read again. ``study`` where the study's folder has moved.

    Raises InputError naming the file that is missing or does not fit.
    """
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(folder / name, "file", "is missing", AGAIN)
    origin = read_json(folder / "provenance.json", AGAIN)
    for key, kind in ORIGIN.items():
        if not isinstance(origin.get(key), kind):
            raise InputError(folder / "provenance.json", key, "is missing or of another kind", AGAIN)
    case = find_case(origin["case"])
    source = study or Path(os.path.relpath(folder.resolve() / origin["study"]))
    prepared = prepare(source, origin["preset"], stored_changes(origin), origin["half"])
    if prepared.study.data_hash != origin["data_hash"]:
        raise InputError(folder / "provenance.json", "data_hash", "the study's files have changed since", AGAIN)
    clearing = cleared(prepared, case)
    decisions, days = unpacked(folder / "decisions.npz", prepared, case, clearing)
    rows = StoredRows(folder / "proof.npz") if case.optimised else None
    return SolvedCase(
        prepared, case, clearing, decisions, None, stored_proof(folder, case), days, read_trace(folder), rows
    )


@dataclass(frozen=True)
class StoredRows:
    """The rows of a proof as they lie on disk."""

    path: Path

    def write_proof(self, path: Path) -> None:
        """Copy them."""
        shutil.copyfile(self.path, path)


def read_trace(folder: Path) -> pd.DataFrame:
    """Bounds over time of a stored search; InputError where the file is not that table."""
    try:
        trace = pd.read_csv(folder / "trace.csv")
    except (ValueError, OSError) as error:
        raise InputError(folder / "trace.csv", "file", "is no table", AGAIN) from error
    if list(trace.columns) != list(COLUMNS):
        raise InputError(folder / "trace.csv", "header", f"is not {','.join(COLUMNS)}", AGAIN)
    return trace


def stored_changes(origin: dict) -> dict[str, object]:
    """Changes of the study, and every field of the preset as it was."""
    preset = {k: v for k, v in origin["parameters"].items() if k in Preset.__dataclass_fields__ and k != "name"}
    return preset | {k: v for k, v in origin["changes"].items() if k not in preset}


def stored_proof(folder: Path, case: Case) -> DesignProof | None:
    """The bounds on record, or None for a case without a menu."""
    if not case.optimised:
        return None
    path = folder / "certificate.json"
    design = read_json(path, AGAIN).get("design")
    if not isinstance(design, dict):
        raise InputError(path, "design", "is missing", AGAIN)
    kinds = {f.name: str if f.name == "proof" else (int, float) for f in fields(DesignProof)}
    for key, kind in kinds.items():
        if not isinstance(design.get(key), kind):
            raise InputError(path, f"design.{key}", "is missing or of another kind", AGAIN)
    return DesignProof(**{key: design[key] for key in kinds})


def read_pools(path: Path, joint: JointLP) -> dict[str, Pool]:
    """The rows of a proof by pool, as the LP of their case can hold them; InputError where they do not fit."""
    arrays = read_arrays(path)
    try:
        pools = hybrid_state.pools_of(arrays)
        fit = all(pools[name].rows and hybrid_state.fits(joint, pools[name]) for name in (*ENDS, "search"))
    except (KeyError, ValueError, IndexError, TypeError, StopIteration, AttributeError, zlib.error) as error:
        raise InputError(path, "rows", "are missing or damaged", AGAIN) from error
    if not fit:
        raise InputError(path, "basis", "belongs to another case", AGAIN)
    return pools


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file; InputError where it is none."""
    try:
        with np.load(path, allow_pickle=False) as store:
            return {name: store[name] for name in store.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(path, "file", "is missing, damaged or no npz file", AGAIN) from error


def shapes(prepared: Prepared, clearing: Instance, n_blocks: int) -> dict[str, tuple[int, ...]]:
    """Shape of every array of decisions.npz."""
    feeder, rules = clearing.feeder, clearing.rules
    buses, lines, people = feeder.bus.size, feeder.line.size, len(clearing.prosumers)
    hours, s, w = clearing.days.n_hours, clearing.days.n_days, prepared.instance.days.n_days
    market = {term: (people, *shape) for term, shape in decision_shapes(all_data(clearing)).items()}
    market |= {"lambda": (hours,), "tau": (rules.n_blocks,), "tau_p": (), "pi": (buses, hours, s)}
    books = {"G": (rules.n_blocks,), "Z": (), "theta": ()}
    priced = {"mu": (n_blocks,), "eta": (n_blocks,), "nu": (n_blocks, 2, s), "blocks": (n_blocks, 3)}
    offered = {"cap": (len(clearing.menu.capacity),), "cap_line": (len(clearing.menu.capacity),)}
    network = {"P": (lines, hours, s), "v": (buses, hours, s)}
    judged = decision_shapes(all_data(prepared.instance)).items()
    days = {DAY + term: (people, *shape) for term, shape in judged if term not in (*AHEAD, *UNWEIGHED)}
    days |= {DAY + "pi": (buses, hours, w), DAY + "bought": (w,)}
    return market | books | priced | offered | network | days


def unpacked(path: Path, prepared: Prepared, case: Case, clearing: Instance) -> tuple[Decisions, DayDecisions]:
    """Decisions and judged days of decisions.npz. Raises InputError where an array does not fit the study."""
    arrays = read_arrays(path)
    for name, values in arrays.items():
        if values.dtype.kind != ("U" if name in WORDS else "f"):
            raise InputError(path, name, f"is of type {values.dtype}", AGAIN)
        if name not in WORDS and not np.isfinite(values).all():
            raise InputError(path, name, "holds NaN or infinite numbers", AGAIN)
    for name, shape in shapes(prepared, clearing, len(arrays.get("blocks", ()))).items():
        if name not in arrays:
            raise InputError(path, name, "is missing", AGAIN)
        if arrays[name].shape != shape:
            raise InputError(path, name, f"has shape {arrays[name].shape}, not {shape}", AGAIN)
    blocks = tuple(stored_block(path, clearing, *row) for row in arrays.pop("blocks"))
    lines = tuple(line for line, _ in clearing.menu.capacity)
    if tuple(arrays.pop("cap_line")) != tuple(map(str, lines)):
        raise InputError(path, "cap_line", "names other lines than the menu", AGAIN)
    day = {name.removeprefix(DAY): arrays.pop(name) for name in list(arrays) if name.startswith(DAY)}
    limits = tuple(zip(lines, arrays["cap"].tolist(), strict=True))
    peaks = (float(arrays.get(name, 0.0)) for name in ("tau_k", "tau_c"))  # stored where the menu offers them
    design = Design(tuple(arrays["tau"].tolist()), float(arrays["tau_p"]), limits, *peaks)
    pi, bought = day.pop("pi"), day.pop("bought")
    day |= {"zb": arrays["zb"], "zs": arrays["zs"]}
    judged = judging_instance(prepared.instance, case, prepared.instance.days)
    return Decisions(design, blocks, arrays), DayDecisions(judged, case.policy, day, pi, bought)


def stored_block(path: Path, clearing: Instance, kind: str, place: str, hour: str) -> Block:
    """A chance block from its three words; InputError where the feeder has no such block."""
    places = clearing.feeder.bus.size if kind.startswith("voltage") else clearing.feeder.line.size
    if kind not in KINDS or place not in map(str, range(places)) or hour not in map(str, range(clearing.days.n_hours)):
        raise InputError(path, "blocks", f"names no chance block: {kind}[{place},{hour}]", AGAIN)
    return Block(str(kind), int(place), int(hour))


# Cases at preset paper as they are stored with the data, so that a book at that preset need not solve them again.
#
# ``data/results/cases/run.py`` makes them. They count only where data, preset, half and changes are the same; whoever
# reads one certifies it again.


FOLDER = Path(__file__).resolve().parents[2] / "data" / "results" / "cases"
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
    origin = read_json(folder / "provenance.json", AGAIN)
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
    made = read_json(folder / "provenance.json", AGAIN)
    place = folder.relative_to(FOLDER.parents[2]).as_posix()
    return (
        f"read from {place}, solved by commit {made['commit']} in {made['seconds']:.0f} s, and certified on this page"
    )
