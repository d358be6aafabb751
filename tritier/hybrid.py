"""The hybrid of Benders cuts and column-and-constraint generation: the best design of a menu with a proved gap.

A best-first tree over the menu bounds F by a small LP over outer cuts and responses. The tariff with the smallest
bound is answered by one warm solve of the follower LP, whose answer holds for all tighter limits that the response
respects; what it leaves of the tariff's limits goes back into the tree, until nothing can beat the incumbent by more
than the gap. SCIP then proves the same from the rows alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from tritier import hybrid_state
from tritier.cuts import TIE_BREAK, reached
from tritier.errors import InfeasibleError, SolverError
from tritier.hybrid_explore import Found, Task, explore
from tritier.hybrid_ledger import Ledger
from tritier.hybrid_pool import Basis, Pool, Request, held, items_of, key, reorder
from tritier.hybrid_progress import Progress
from tritier.hybrid_scip import Verdict, below, prove
from tritier.joint import JointLP
from tritier.menu_search import Node
from tritier.optimistic import Response, optimistic_response

ROUND = 8  # designs answered at once; a constant, so that results do not depend on the number of workers
TANGENTS = 2  # loss tangents of the search's LP; incumbents are evaluated with exact losses
WIDEN = 2.0  # slacks by which an answer must exceed its bound, for outer cuts to be worth their solves
FINE = 256  # tariffs of a menu from which outer cuts of one pay at its neighbours
LOOSE = 0.1  # of the slack: understatement of losses at which an answer gets another loss tangent
SAVE_EVERY = 20.0  # s


@dataclass(frozen=True, eq=False)
class HybridResult:
    """The best design found, bounds on the best there is, $, and how they came about."""

    best: Response
    joint: JointLP  # the LP that the best response is a point of
    lower_bound: float
    upper_bound: float
    gap: float  # share of the gain between flat tariff and first best
    menu_points: int
    lp_solves: int
    trace: pd.DataFrame
    verdict: Verdict | None  # SCIP's word on the rows; None where the search did not reach its gap
    pool: Pool
    table: pd.DataFrame  # the answers

    @property
    def proof(self) -> str:
        return "not run" if self.verdict is None else self.verdict.word

    def write_proof(self, path: Path) -> None:
        """Store every row with the basis that proves it."""
        np.savez_compressed(path, **hybrid_state.packed(self.pool))


def solve(
    joint: JointLP,
    *,
    gap: float = 0.05,
    f_flat: float,
    f_first_best: float,
    time_limit: float | None = None,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
    state: Path | None = None,
    origin: str = "",
) -> HybridResult:
    """The best design of the menu, to within ``gap`` of the gain between flat tariff and first best (:eq:`eq-gap`).

    joint: the instance's LP, at whose last basis the search starts; f_flat, f_first_best: social cost of both, $;
    time_limit: s, after which the search stops with the bounds it has, as it does on Ctrl-C; state: file from which a
    broken run of the same ``origin`` goes on. Raises InfeasibleError where no design recovers the revenue, SolverError
    where time is up before one is found.
    """
    with tempfile.TemporaryDirectory() as folder:
        search = Search(joint, gap, f_flat, f_first_best, jobs, progress, Path(folder))
        search.keep(state, origin)
        finished = False
        try:
            finished = search.run(time_limit)
        except KeyboardInterrupt:
            search.save()
            if search.ledger.best is None:
                raise
        return search.result(finished)


class Search:
    """A ledger, the workers that fill it, and what is said and stored on the way."""

    def __init__(self, joint: JointLP, gap, f_flat, f_first_best, jobs, say, folder: Path) -> None:
        self.joint, self.jobs = joint, jobs
        self.gain = f_flat - f_first_best
        loads = {key(item): item for item in items_of(joint) if isinstance(item, np.ndarray)}  # each once
        pool = Pool([*list(loads.values())[-TANGENTS:], *joint.blocks])
        self.begun = reorder(joint, joint.warm.basis(), items_of(joint), pool.items)
        self.ledger = Ledger(joint, gap * self.gain, pool)
        self.menu = self.ledger.menu
        self.fine = int(np.prod([len(v) for v in self.menu.levels[: self.menu.prices]])) > FINE
        self.solves = 0
        self.progress = Progress(self.gain, say)
        self.state: Path | None = None
        self.origin = ""
        self.store = str(folder / "lp.joblib")
        joblib.dump((joint.instance, joint.sees_network, joint.bare), self.store)
        self._saved = time.perf_counter()

    def keep(self, state: Path | None, origin: str) -> None:
        """Write what is found to ``state`` now and then; go on from there where a run of this origin broke off."""
        self.state, self.origin = state, origin
        if state is not None and state.is_file():
            rows, trace = hybrid_state.resume(state, origin, self.ledger.pool)
            for row in rows:
                self.ledger.learn(row)
            last = trace[-1] if trace else (0.0, 0, 0.0, 0.0)
            self.progress = Progress(self.gain, self.progress.say, trace, last[0])
            self.solves = int(last[1])

    def save(self) -> None:
        """Keep rows and trace, whole or not at all."""
        if self.state is not None:
            hybrid_state.save(self.state, self.origin, self.ledger.pool, self.progress.rows)
            self._saved = time.perf_counter()

    def run(self, time_limit: float | None) -> bool:
        """Search until the gap is reached or time is up; whether the gap was reached."""
        if not self.ledger.pool.rows:
            self.begin()

        def late() -> bool:
            return time_limit is not None and self.progress.seconds >= time_limit

        while not late():
            self.ledger.held = self.next_nodes(late)
            if not self.ledger.held:
                self.report()
                return not late()
            self.round(self.ledger.held)
            self.report()
            if time.perf_counter() - self._saved > SAVE_EVERY:
                self.save()
        return False

    def report(self) -> None:
        self.progress.report(self.ledger.lower_bound, self.ledger.upper_bound, self.solves)

    def begin(self) -> None:
        """Rows for the whole menu: least F, least N, least F at the tightest limits; answers at extreme tariffs."""
        e, root, items = self.menu.prices, self.menu.root, tuple(self.ledger.pool.items)
        least = [np.full(3, TIE_BREAK), np.full(3, TIE_BREAK)]
        least[0][0] = least[1][2] = 1.0  # of F, of N
        supports = [Request("support", None, (*d, *np.zeros(self.ledger.shape.size - 3))) for d in least]
        self.send([Task(self.store, items, None, supports[0])])
        basis = self.pooled(self.ledger.pool.rows[0].basis)
        middle = tuple((a + b) // 2 for a, b in zip(root.low[:e], root.high[:e], strict=True))
        tight = self.menu.design(middle + root.low[e:])
        loose = [self.menu.design(end + root.high[e:]) for end in (root.low[:e], root.high[:e], middle)]
        items = tuple(self.ledger.pool.items)
        tasks = [Task(self.store, items, basis, supports[1])]
        tasks.append(Task(self.store, items, basis, Request("weighed", tight, (1.0, TIE_BREAK, 0.0))))
        begun, cutoff, spare = self.pooled(self.begun), np.inf, LOOSE * self.ledger.slack
        answers = [Request("answer", design) for design in dict.fromkeys((tight, *loose))]
        self.send(tasks + [Task(self.store, items, begun, request, cutoff, np.inf, spare) for request in answers])
        for position in list(self.ledger.known):
            self.look_closer(position)

    def pooled(self, basis: Basis) -> Basis:
        """A basis of an earlier state of the pool, for the pool as it is."""
        items = self.ledger.pool.items
        return reorder(self.joint, basis, items[: held(self.joint, basis, items)], items)

    def next_nodes(self, late: Callable[[], bool]) -> list[Node]:
        """The next boxes of one tariff to answer."""
        chosen: list[Node] = []
        while len(chosen) < ROUND and (node := self.ledger.next_node(late)) is not None:
            chosen.append(node)
        return chosen

    def round(self, nodes: list[Node]) -> None:
        """Answer the boxes that are out of the tree, at their largest limits."""
        tasks, items, ledger = [], tuple(self.ledger.pool.items), self.ledger
        for node in nodes:
            request = Request("answer", self.menu.design(node.box.high))
            widen = node.value + WIDEN * ledger.slack if self.fine else np.inf
            start, loose = self.start(node.box.high), LOOSE * ledger.slack
            tasks.append(Task(self.store, items, start, request, ledger.target, widen, loose))
        self.send(tasks)
        ledger.held = []
        for node in nodes:
            self.look_closer(node.box.high)
            ledger.settle(node)

    def start(self, position: tuple[int, ...]) -> Basis:
        """The basis of the nearest follower solved so far, to start from."""
        widths = [max(1, len(v) - 1) for v in self.menu.levels]
        known = self.ledger.known
        far = {
            near: sum(abs(a - b) / width for a, b, width in zip(near, position, widths, strict=True)) for near in known
        }
        return self.pooled(known[min(far, key=far.get)].row.basis if far else self.begun)

    def send(self, tasks: list[Task]) -> None:
        """Work on tasks, and learn what they find in their order."""
        run = joblib.Parallel(n_jobs=min(self.jobs, len(tasks)))
        for found in run(joblib.delayed(explore)(task) for task in tasks):
            self.collect(found)

    def collect(self, found: Found) -> None:
        """Enter the rows of a task into the ledger."""
        pool = self.ledger.pool
        pool.learn(found.items)
        self.solves += found.solves
        for row in found.rows:
            self.ledger.learn(replace(row, basis=reorder(self.joint, row.basis, found.items, pool.items)))

    def look_closer(self, position: tuple[int, ...]) -> None:
        """Where the response best for F does not recover the cost, another may: an incumbent, if so."""
        known = self.ledger.known[position]
        if known.least >= self.ledger.target or known.row.answer.recovered >= 0:
            return
        try:
            _, found = self.exactly(position)
        except InfeasibleError:
            return  # the answer's bound stands, though it is not reached
        self.ledger.propose(found.social.total, position)

    def exactly(self, position: tuple[int, ...]) -> tuple[JointLP, Response]:
        """The optimistic response at a menu point, with exact losses, and the LP it is a point of."""
        joint = self.joint.fresh(TANGENTS)
        joint.add_blocks([b for b in self.ledger.pool.items if not isinstance(b, np.ndarray) and b not in joint.blocks])
        try:
            return joint, optimistic_response(joint, self.menu.design(position))
        finally:
            self.solves += joint.warm.solves

    def result(self, finished: bool) -> HybridResult:
        """The best design with exact losses, the bounds, and SCIP's word on them."""
        ledger = self.ledger
        if ledger.best is None and not finished:
            raise SolverError("time was up before a design was found that recovers the cost: give the search more")
        if ledger.best is None:
            raise InfeasibleError("no design found that recovers the fixed and the network cost")
        joint, best = self.exactly(ledger.best[1])
        upper = best.social.total
        lower = min(ledger.lower_bound, upper)
        verdict = self.prove(best, lower) if finished else None
        self.progress.report(lower, upper, self.solves)
        return HybridResult(
            best=best,
            joint=joint,
            lower_bound=lower,
            upper_bound=upper,
            gap=(upper - lower) / self.gain if self.gain > 0 else np.inf,
            menu_points=self.joint.instance.menu.n_points,
            lp_solves=self.solves,
            trace=self.progress.trace,
            verdict=verdict,
            pool=ledger.pool,
            table=ledger.table(),
        )

    def prove(self, best: Response, lower: float) -> Verdict:
        """SCIP's word on the rows: nothing lies below the bound."""
        return prove(self.ledger.master(), below(lower, self.gain), reached(best), self.ledger.best[1])
