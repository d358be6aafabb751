"""Work on menu points that can be done anywhere: in this process, in another, on a cluster.

A task is one design, the chance blocks known so far and the basis to start from; its answer depends on nothing else,
so that results do not depend on how many workers share the tasks.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import numpy as np

from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import Basis
from tritier.search.pool import Item, Request, Row, build, extend, items_of, solve_request, starts_with

# The LP of a search as one array of bytes, for workers that share no disk.
#
# joblib hands a large array to the processes of one machine through shared memory, and Dask sends it to a worker once.


def pack(joint: JointLP) -> np.ndarray:
    """Instance, whether the market sees the network, and the bare LP, as bytes."""
    return np.frombuffer(pickle.dumps((joint.instance, joint.sees_network, joint.bare)), dtype=np.uint8)


def unpack(packed: np.ndarray) -> JointLP:
    """The LP without chance blocks and without tangents but the first."""
    return build(*pickle.loads(packed.tobytes()), [])


LADDER = (1e4, 1e3, 64.0, 16.0, 4.0)  # lambda: each basis is close to the next one's, so that a step is cheap
TIGHTEN = 5  # loss tangents that one answer may add
WIDE = 64.0  # from here down a cut says something about other designs


@dataclass(frozen=True, eq=False)
class Task:
    """One design to explore, or one request, of the search named ``search``."""

    search: str
    items: tuple[Item, ...]
    basis: Basis | None
    request: Request
    cutoff: float = 0.0  # $: F from which an answer needs no look at its revenue
    widen: float = np.inf  # $: F from which an answer is followed by outer cuts
    loose: float = np.inf  # $: understatement of losses at which an answer below the cutoff gets a loss tangent


@dataclass(frozen=True, eq=False)
class Found:
    """Rows of a task, the items of their LP in order, and its LP solves."""

    rows: list[Row]
    items: list[Item]
    solves: int


_built: dict[str, JointLP] = {}  # this process's LP of the last task, to be used again where it fits


def _joint(task: Task, packed: np.ndarray) -> JointLP:
    """The LP with exactly the task's items: this process's own where it fits, otherwise a new one."""
    joint = _built.get(task.search)
    if joint is None or not starts_with(list(task.items), items_of(joint)):
        _built.clear()
        joint = _built[task.search] = unpack(packed)
    extend(joint, list(task.items[len(items_of(joint)) :]))
    return joint


def explore(task: Task, packed: np.ndarray) -> Found:
    """Answer a design, or another request, from the task's basis; ``packed`` holds the search's LP."""
    joint = _joint(task, packed)
    begin = joint.warm.solves
    joint.warm.restart()  # nothing that this process solved before may steer the simplex
    if task.basis is not None:
        joint.warm.set_basis(task.basis)
    rows = [_tightened(joint, task) if task.request.kind == "answer" else solve_request(joint, task.request)]
    if task.request.kind == "answer" and rows[0].answer is not None:
        rows += _follow_up(joint, task, rows[0])
    rows = [replace(row, answer=row.answer and replace(row.answer, load=None)) for row in rows]
    return Found(rows, items_of(joint), joint.warm.solves - begin)


def _tightened(joint: JointLP, task: Task) -> Row:
    """An answer, with loss tangents at its response while they understate what matters."""
    row = solve_request(joint, task.request)
    for _ in range(TIGHTEN):
        found = row.answer
        if found is None or found.least >= task.cutoff or found.reached - found.least <= task.loose:
            break
        joint.tangent(found.load)
        row = solve_request(joint, task.request)
    return row


def _follow_up(joint: JointLP, task: Task, row: Row) -> list[Row]:
    """Where the response does not recover the cost, the most revenue of all; and outer cuts of falling lambda, where
    the rows so far say too little about the place."""
    rows, found = [], row.answer
    if found.recovered < 0 and found.least < task.cutoff:
        rows.append(solve_request(joint, Request("shortfall", task.request.design)))
    if found.least > task.widen:
        for weight in LADDER:
            step = solve_request(joint, Request("weighed", task.request.design, (1.0, weight, 0.0)))
            if weight <= WIDE:
                rows.append(step)
    return rows
