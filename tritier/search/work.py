"""Work on menu points that can be done anywhere: in this process, in another, on a cluster.

A task is a request, chance blocks and tangents that may hold something there, and the basis to start from; its rows
depend on nothing else, so that results do not depend on how many workers share the tasks.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import Basis, Clock
from tritier.search.cuts import Request, Row, solve_request
from tritier.search.pool import Item, Unfinished, build, extend, items_of, starts_with

TIGHTEN = 5  # loss tangents that one answer may add


def pack(joint: JointLP) -> np.ndarray:
    """Instance, whether the market sees the network, and the bare LP, as one array of bytes: joblib hands it to the
    processes of one machine through shared memory, and Dask sends it to a worker once."""
    return np.frombuffer(pickle.dumps((joint.instance, joint.sees_network, joint.bare)), dtype=np.uint8)


def unpack(packed: np.ndarray) -> JointLP:
    """The LP without chance blocks and without tangents but the first."""
    instance, network, lp = pickle.loads(packed.tobytes())
    return build(instance, network, lp, [])


@dataclass(frozen=True, eq=False)
class Task:
    """One request of the search named ``search``."""

    search: str
    items: tuple[Item, ...]
    basis: Basis | None  # None: begin inside, with an interior point
    request: Request
    cutoff: float  # $: an answer that is bounded from below by this, the incumbent's cost, needs no closer look
    phase: str  # what its seconds are counted as
    loose: float  # $: understatement of losses at which an answer below the cutoff gets a loss tangent


@dataclass(frozen=True, eq=False)
class Found:
    """Rows of a task, the items of their LP in order, its LP solves, and where its seconds went."""

    rows: list[Row]
    items: list[Item]
    solves: int
    clock: Clock


_built: dict[str, JointLP] = {}  # this process's LP of the last task, to be used again where it fits


def _joint(task: Task, packed: np.ndarray) -> JointLP:
    """The LP with exactly the task's items: this process's own where it fits, otherwise a new one."""
    joint = _built.get(task.search)
    if joint is None or not starts_with(list(task.items), items_of(joint)):
        _built.clear()
        joint = _built[task.search] = unpack(packed)
    extend(joint, list(task.items[len(items_of(joint)) :]))
    return joint


def answer_name(number: int) -> str:
    """What the file of an unfinished answer is called, by its place in the round."""
    return f"answer{number}"


def solve_numbered(number: int, task: Task, packed: np.ndarray, state: Path | None, origin: str) -> tuple[int, Found]:
    """A task's number and :func:`solve_task`, from where a run that broke off has left it beside its state."""
    unfinished = Unfinished(state, answer_name(number), origin, repr(task.request))
    if unfinished.basis is not None:
        task = replace(task, items=tuple(unfinished.items), basis=unfinished.basis)
    return number, solve_task(task, packed, unfinished)


def solve_task(task: Task, packed: np.ndarray, unfinished: Unfinished | None = None) -> Found:
    """Solve a task's request from its basis; ``packed`` holds the search's LP (:func:`pack`).

    Where the response of an answer does not recover the cost, and its bound does not settle the matter, the shortfall
    is bounded over all responses.
    """
    clock, request = Clock(), task.request
    with clock.during(task.phase):
        joint = _joint(task, packed)
        joint.warm.clock, begin = clock, joint.warm.solves
        joint.warm.solved = partial((unfinished or Unfinished(None)).keep, joint)
        joint.warm.restart()  # nothing that this process solved before may steer the simplex
        if task.basis is not None:
            joint.warm.set_basis(task.basis)
        rows = [_tightened(joint, task)]
    if request.kind == "answer" and rows[0].recovered < 0 and rows[0].bound < task.cutoff:
        with clock.during("shortfall"):
            rows.append(solve_request(joint, replace(request, kind="shortfall")))
    return Found([replace(row, load=None) for row in rows], items_of(joint), joint.warm.solves - begin, clock)


def _tightened(joint: JointLP, task: Task) -> Row:
    """A row, with loss tangents at its response while they understate what matters."""
    row = solve_request(joint, task.request, inside=task.basis is None)
    for _ in range(TIGHTEN):
        if row.request.kind != "answer" or row.bound >= task.cutoff or row.social_cost - row.bound <= task.loose:
            break
        assert row.load is not None, "solved just now"
        joint.tangent(row.load)
        row = solve_request(joint, task.request)
    return row
