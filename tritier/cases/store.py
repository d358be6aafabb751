"""Files of a solved case: what they are called and hold, and how each is read back, refused where it does not fit."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tritier.cases.cases import Case, judging_instance
from tritier.cases.certificate import ANSWERS, PROOFS, Answers, DesignProof, require
from tritier.cases.decisions import Decisions, billed_of, prices_of
from tritier.cases.recourse import AHEAD, UNWEIGHED, DayDecisions, with_rights
from tritier.errors import InputError
from tritier.inputs.documents import read_json
from tritier.inputs.instance import Design, Instance
from tritier.inputs.settings import PRESET_KEYS, Preset, parse_value
from tritier.model.chance import KINDS, Block
from tritier.model.prosumer import all_data, decision_shapes
from tritier.provenance import digest, own_folder
from tritier.reformulation.joint import JointLP
from tritier.search import pool as hybrid_state
from tritier.search.check import BOUND
from tritier.search.hybrid import COLUMNS
from tritier.search.pool import Pool
from tritier.search.references import REFERENCES, SCAN

FILES = ("summary.json", "decisions.npz", "trace.csv", "certificate.json", "provenance.json")
RANGE = "range.npz"  # other answers of the market; results of earlier versions have none
LATER = (
    "proof.npz",
    RANGE,
    "profile.csv",
    "physics.json",
    "evaluation.csv",
    "report.html",
)  # what a result may hold besides
ORIGIN: dict[str, type | tuple[type, ...]] = {  # keys of provenance.json and what they hold
    **dict.fromkeys(("study", "study_name", "half", "preset", "data_hash", "commit"), str),
    **dict.fromkeys(("case", "seed", "jobs"), int),
    **dict.fromkeys(("parameters", "changes", "versions"), dict),
    "gap": (float, type(None)),  # asked for; None, and no engine, where there is no menu
    "engine": (str, type(None)),
    "seconds": (int, float),
}
WORDS = ("blocks", "cap_line")  # arrays of text in decisions.npz
AGAIN = "solve the case again with --out"
UNCHECKED = ("commit", "versions", "engine", "jobs", "seconds")  # keys of provenance.json that no figure rests on
BESIDE = {  # files beside a result that nobody reads again, and the verb that makes each anew
    "evaluation.csv": "tritier evaluate",
    "profile.csv": "tritier solve --profile",
    "report.html": "tritier report",
}
DAY = "day_"  # prefix of arrays on the design scenarios under the headline policy


def check_out(out: Path) -> Path:
    """The folder a case may go to (:func:`tritier.provenance.own_folder`)."""
    return own_folder(out, FILES + LATER)


def state_of(path: Path) -> dict[str, object] | None:
    """What question the state of an interrupted run belongs to; None where there is none.

    Raises InputError where the file is no state of a run: it is somebody else's, and stays.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as found:
            question = json.loads(str(found["origin"]))
        if not isinstance(question, dict):
            raise ValueError("holds no keys")
        return question
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        problem = "is no state of a run, but lies where it would go"
        raise InputError(path, "--out", problem, "name another --out") from error


def forget_state(path: Path) -> None:
    """Remove the state of a run and the pieces beside it; a file that is none stays, and InputError says so."""
    for own in (path, *hybrid_state.pieces(path)):
        if state_of(own) is not None:
            own.unlink()


def packed(decisions: Decisions, days: DayDecisions) -> dict[str, np.ndarray]:
    """All arrays of decisions.npz: the clearing, its blocks by name, and the judged design scenarios."""
    arrays = dict(decisions.arrays)
    blocks = [[b.kind, str(b.place), str(b.hour)] for b in decisions.blocks]
    arrays["blocks"] = np.array(blocks, dtype=str).reshape(-1, 3)
    arrays["cap_line"] = np.array([str(line) for line, _ in decisions.design.capacity], dtype=str)
    for name, value in days.arrays.items():
        if name not in AHEAD or days.price is not None:
            arrays[DAY + name] = value
    if days.price is not None:
        arrays[DAY + "lambda"] = days.price
    arrays[DAY + "pi"], arrays[DAY + "bought"] = days.pi, days.bought
    return arrays


def private_shapes(clearing: Instance) -> dict[str, tuple[int, ...]]:
    """Shape of every decision that a prosumer takes in a clearing; what follows from its cost is left out."""
    data = all_data(clearing)
    shapes = decision_shapes(data).items()
    return {term: (len(data), *shape) for term, shape in shapes if term not in ("var", "excess")}


def packed_answers(answers: Answers, clearing: Instance) -> dict[str, np.ndarray]:
    """All arrays of range.npz: prosumers' decisions of every other answer, its name before theirs."""
    return {f"{name}_{term}": answers[name][term] for name in ANSWERS for term in private_shapes(clearing)}


def read_answers(path: Path, clearing: Instance) -> dict[str, dict[str, np.ndarray]]:
    """Prosumers' decisions of every other answer, by its name. Raises InputError where an array does not fit."""
    arrays, shapes = read_arrays(path), private_shapes(clearing)
    wanted = {f"{name}_{term}": shape for name in ANSWERS for term, shape in shapes.items()}
    require_arrays(path, arrays, wanted)
    return {name: {term: arrays[f"{name}_{term}"] for term in shapes} for name in ANSWERS}


def require_arrays(path: Path, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise InputError where an array is missing, has another shape, or holds what is no number, or no word."""
    for name, values in arrays.items():
        if values.dtype.kind != ("U" if name in WORDS else "f"):
            raise InputError(path, name, f"is of type {values.dtype}", AGAIN)
        if name not in WORDS and not np.isfinite(values).all():
            raise InputError(path, name, "holds NaN or infinite numbers", AGAIN)
    for name, shape in shapes.items():
        if name not in arrays:
            raise InputError(path, name, "is missing", AGAIN)
        if arrays[name].shape != shape:
            raise InputError(path, name, f"has shape {arrays[name].shape}, not {shape}", AGAIN)


def mark_of(decisions: Decisions) -> str:
    """Hash of a clearing's arrays, the same before they are stored and after: what was judged later names it."""
    parts = [f"{name} {digest(np.asarray(values).tobytes())}" for name, values in sorted(decisions.arrays.items())]
    return digest("\n".join(parts))


def unread(folder: Path) -> str:
    """Which files beside a result nobody checks, in words; empty where there are none."""
    return ", ".join(f"{name}, which {verb} makes anew" for name, verb in BESIDE.items() if (folder / name).exists())


def read_origin(folder: Path) -> dict[str, Any]:
    """provenance.json of a stored result whose files are all there; InputError where one is missing or does not fit."""
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(folder / name, "file", "is missing", AGAIN)
    path = folder / "provenance.json"
    origin = read_json(path, AGAIN)
    if not isinstance(origin, dict):
        raise InputError(path, "file", "holds no keys", AGAIN)
    for key, kinds in ORIGIN.items():
        if key not in origin or isinstance(origin[key], bool) or not isinstance(origin[key], kinds):
            raise InputError(path, key, "is missing or of another kind", AGAIN)
    return origin


def read_trace(folder: Path) -> pd.DataFrame:
    """Bounds over time of a stored search; InputError where the file is not that table."""
    try:
        trace = pd.read_csv(folder / "trace.csv")
    except (ValueError, OSError) as error:
        raise InputError(folder / "trace.csv", "file", "is no table", AGAIN) from error
    if list(trace.columns) != list(COLUMNS):
        raise InputError(folder / "trace.csv", "header", f"is not {','.join(COLUMNS)}", AGAIN)
    if trace.size and (any(kind.kind not in "if" for kind in trace.dtypes) or trace.isna().any(axis=None)):
        raise InputError(folder / "trace.csv", "file", "holds what is no number", AGAIN)
    return trace


def check_trace(trace: pd.DataFrame, bounds: DesignProof | None) -> None:
    """Raise CertificateError where bounds over time widen, cost no time, or do not end at those on record."""
    if bounds is None:
        require("trace.rows", float(len(trace)), 0.0, "a case without a menu has no search")
        return
    require("trace.rows", float(trace.empty), 0.0, "the search ends with its bounds")
    values = trace.to_numpy() * [1, 1, 1, -1]  # seconds, solves and the lower bound never fall, the upper never rises
    require("trace.order", float((values[1:] < values[:-1]).sum()), 0.0, "bounds widen, or time runs backwards")
    last = trace.iloc[-1]
    require("trace.lp_solves", abs(last["lp_solves"] - bounds.lp_solves), 0.0, f"{bounds.lp_solves} are on record")
    for name in ("lower_bound", "upper_bound"):
        require(f"trace.{name}", abs(last[name] - getattr(bounds, name)), BOUND, "is not where the search ended")


def check_origin(folder: Path, mine: Preset, today: Preset, name: str) -> None:
    """Raise CertificateError where provenance.json contradicts itself: seed, sizes, changes and the study's name.

    mine: the preset as the file says it was; today: the study's own, without changes; name: of the study.
    """
    origin = read_origin(folder)
    own = {key: getattr(mine, key) for key in origin["changes"] if key in PRESET_KEYS}
    meant: dict[str, object] = {"study_name": name, "seed": mine.seed, "parameters": asdict(replace(today, **own))}
    told = {key: parse_value(key, str(origin["changes"][key])) for key in own}
    for key, stored, value in [(k, origin[k], v) for k, v in meant.items()] + [("changes", told, own)]:
        require(f"provenance.{key}", float(stored != value), 0.0, f"{stored!r} is stored, {value!r} is meant")


def stored_changes(origin: dict) -> dict[str, object]:
    """Changes of the study, and every field of the preset as it was."""
    preset = {k: v for k, v in origin["parameters"].items() if k in PRESET_KEYS}
    return preset | {k: v for k, v in origin["changes"].items() if k not in preset}


def stored_bounds(folder: Path, case: Case) -> DesignProof | None:
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
    if design["proof"] not in PROOFS:
        words = f"{design['proof']!r} is none of {', '.join(PROOFS)}"
        raise InputError(path, "design.proof", words, AGAIN)
    return DesignProof(**{key: design[key] for key in kinds})


def read_pools(path: Path, joint: JointLP) -> dict[str, Pool]:
    """The rows of a proof by pool, as the LP of their case can hold them; InputError where they do not fit."""
    arrays = read_arrays(path)
    try:
        pools = hybrid_state.pools_of(arrays)
        fit = all(pools[name].rows and hybrid_state.fits(joint, pools[name]) for name in (*REFERENCES, "search"))
        fit = fit and hybrid_state.fits(joint, pools.get(SCAN, hybrid_state.Pool([])))
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


def shapes(instance: Instance, clearing: Instance, n_blocks: int) -> dict[str, tuple[int, ...]]:
    """Shape of every array of decisions.npz."""
    feeder, rules = clearing.feeder, clearing.rules
    buses, lines, people = feeder.bus.size, feeder.line.size, len(clearing.prosumers)
    hours, s, w = clearing.days.n_hours, clearing.days.n_days, instance.days.n_days
    market = {term: (people, *shape) for term, shape in decision_shapes(all_data(clearing)).items()}
    by_scenario = clearing.rules.trade == "by_scenario"
    market |= {"pi": (buses, hours, s), "lambda": (hours, s) if by_scenario else (hours,)}
    free = Design((0.0,) * rules.n_blocks, 0.0)  # stands for any: which prices and quantities are stored is the menu's
    told = prices_of(clearing.menu, free) | billed_of(clearing.menu, np.zeros(free.prices.size))
    books = {name: values.shape for name, values in told.items()} | {"theta": ()}
    priced = {"mu": (n_blocks,), "eta": (n_blocks,), "nu": (n_blocks, 2, s), "blocks": (n_blocks, 3)}
    offered = {"cap": (len(clearing.menu.capacity),), "cap_line": (len(clearing.menu.capacity),)}
    if rules.fixed_share:
        market["fixed"] = (people + 1,)
    network = {"P": (lines, hours, s), "v": (buses, hours, s)}
    judged = decision_shapes(all_data(instance)).items()
    standing = () if by_scenario else AHEAD
    days = {DAY + term: (people, *shape) for term, shape in judged if term not in (*standing, *UNWEIGHED)}
    days |= {DAY + "lambda": (hours, w)} if by_scenario else {}
    days |= {DAY + "pi": (buses, hours, w), DAY + "bought": (w,)}
    return market | books | priced | offered | network | days


def unpacked(path: Path, instance: Instance, case: Case, clearing: Instance) -> tuple[Decisions, DayDecisions]:
    """Decisions and judged days of decisions.npz. Raises InputError where an array does not fit the study."""
    arrays = read_arrays(path)
    require_arrays(path, arrays, shapes(instance, clearing, len(arrays.get("blocks", ()))))
    blocks = tuple(stored_block(path, clearing, *row) for row in arrays.pop("blocks"))
    lines = tuple(line for line, _ in clearing.menu.capacity)
    if tuple(arrays.pop("cap_line")) != tuple(map(str, lines)):
        raise InputError(path, "cap_line", "names other lines than the menu", AGAIN)
    day = {name.removeprefix(DAY): arrays.pop(name) for name in list(arrays) if name.startswith(DAY)}
    limits = tuple(zip(lines, arrays["cap"].tolist(), strict=True))
    peaks = (float(arrays.get(name, 0.0)) for name in ("tau_k", "tau_c"))  # stored where the menu offers them
    design = Design(tuple(arrays["tau"].tolist()), float(arrays["tau_p"]), limits, *peaks)
    pi, bought = day.pop("pi"), day.pop("bought")
    price = day.pop("lambda", None)
    day |= {term: arrays[term] for term in AHEAD if price is None}
    judged = judging_instance(instance, case, instance.days)
    decisions = Decisions(design, blocks, arrays)
    days = DayDecisions(judged, case.policy, day, pi, bought, price=price)
    return decisions, with_rights(days, case, clearing, decisions)


def stored_block(path: Path, clearing: Instance, kind: str, place: str, hour: str) -> Block:
    """A chance block from its three words; InputError where the feeder has no such block."""
    places = clearing.feeder.bus.size if kind.startswith("voltage") else clearing.feeder.line.size
    if kind not in KINDS or place not in map(str, range(places)) or hour not in map(str, range(clearing.days.n_hours)):
        raise InputError(path, "blocks", f"names no chance block: {kind}[{place},{hour}]", AGAIN)
    return Block(str(kind), int(place), int(hour))
