"""The search of the hybrid: a ledger, the workers that fill it, what is said and stored on the way, and the result.

A best-first tree over the menu bounds F by a small LP over outer cuts and responses. The tariff with the smallest
bound is answered by one warm solve of the follower LP, whose answer holds for all tighter limits that the response
respects; what it leaves of the tariff's limits goes back into the tree, until nothing can beat the incumbent by more
than the gap. SCIP then proves the same from the rows alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import joblib
import numpy as np
import pandas as pd
from pyscipopt import SCIP_RESULT, Conshdlr

from tritier.errors import InfeasibleError, InputError, SolverError
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import Basis
from tritier.search import pool as hybrid_state
from tritier.search.cuts import reached
from tritier.search.ends import End, least_social_cost
from tritier.search.ledger import Ledger
from tritier.search.menu import Node
from tritier.search.pool import Pool, Request, build, items_of, reorder
from tritier.search.responses import Response, optimistic_response
from tritier.search.scip import MARGIN, SLACK, MasterModel, Verdict, below, prove
from tritier.search.work import Found, Task, explore, pack

# What a search reports while it runs: bounds, gap, LP solves and seconds, as a line and as a trace.


COLUMNS = ("seconds", "lp_solves", "lower_bound", "upper_bound")


class Progress:
    """The trace of a search. Lower bounds never fall and upper bounds never rise."""

    def __init__(self, gain: float, say: Callable[[str], None] | None = None, rows=(), seconds: float = 0.0) -> None:
        self.gain = gain
        self.say = say
        self.rows: list[tuple[float, int, float, float]] = list(rows)
        self._begin = time.perf_counter() - seconds

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begin

    def report(self, lower: float, upper: float, solves: int) -> None:
        """Note the bounds, $, and print the progress line."""
        if self.rows:
            lower, upper = max(lower, self.rows[-1][2]), min(upper, self.rows[-1][3])
        self.rows.append((self.seconds, solves, lower, upper))
        if self.say:
            share = (upper - lower) / self.gain if self.gain > 0 else float("inf")
            self.say(f"{self.seconds:7.0f} s  bounds {lower:.2f} {upper:.2f} $  gap {share:.1%} of gain  {solves} LPs")

    @property
    def trace(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=list(COLUMNS))


ROUND = 8  # designs answered at once; a constant, so that results do not depend on the number of workers
TANGENTS = 2  # loss tangents of the search's first LP; incumbents have exact losses
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


class Search:
    """A ledger, the workers that fill it, and what is said and stored on the way."""

    def __init__(self, joint: JointLP, gap, f_flat, f_first_best, jobs, say, ideal: End | None = None) -> None:
        self.joint, self.jobs = joint, jobs
        self.gain = f_flat - f_first_best
        pool = Pool([] if ideal is None else list(ideal.items))
        items = items_of(joint)
        pool.learn([item for item in items if isinstance(item, np.ndarray)][-TANGENTS:])
        pool.learn(joint.blocks)
        self.begun = reorder(joint, joint.warm.basis(), items, pool.items)
        self.ideal = ideal
        self.ledger = Ledger(joint, gap * self.gain, pool)
        self.menu = self.ledger.menu
        self.fine = int(np.prod([len(v) for v in self.menu.levels[: self.menu.prices]])) > FINE
        self.solves = 0
        self.progress = Progress(self.gain, say)
        self.state: Path | None = None
        self.origin = ""
        self.name, self.packed = uuid4().hex, pack(joint)
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
            self.save_in_time()
        return False

    @property
    def lower_bound(self) -> float:
        """What the search has proved of F over the menu, $."""
        return self.ledger.lower_bound

    def report(self) -> None:
        self.progress.report(self.lower_bound, self.ledger.upper_bound, self.solves)

    def save_in_time(self) -> None:
        if time.perf_counter() - self._saved > SAVE_EVERY:
            self.save()

    def begin(self) -> None:
        """The least F of the whole menu, and at its tightest limits; answers at extreme tariffs."""
        e, root, items = self.menu.prices, self.menu.root, tuple(self.ledger.pool.items)
        if self.ideal is None:
            self.send([Task(self.name, items, None, least_social_cost(self.joint))])
        else:
            self.ledger.learn(self.ideal.row)
        middle = tuple((a + b) // 2 for a, b in zip(root.low[:e], root.high[:e], strict=True))
        tight = self.menu.design(middle + root.low[e:])
        least = Request("weighed", tight, (1.0, 0.0, 0.0))  # rules out limits that cost society too much on their own
        loose = [self.menu.design(end + root.high[e:]) for end in (root.low[:e], root.high[:e], middle)]
        answers = [Request("answer", design) for design in dict.fromkeys((tight, *loose))]
        items, begun, spare = tuple(self.ledger.pool.items), self.pooled(self.begun), LOOSE * self.ledger.slack
        tasks = [Task(self.name, items, self.pooled(self.ledger.pool.rows[0].basis), least)]
        self.send(tasks + [Task(self.name, items, begun, request, np.inf, np.inf, spare) for request in answers])
        for position in list(self.ledger.known):
            self.look_closer(position)

    def pooled(self, basis: Basis) -> Basis:
        """A basis of an earlier state of the pool, for the pool as it is."""
        items = self.ledger.pool.items
        return reorder(self.joint, basis, items, items)

    def next_nodes(self, late: Callable[[], bool]) -> list[Node]:
        """The next boxes of one tariff to answer."""
        chosen: list[Node] = []
        while len(chosen) < ROUND and (node := self.ledger.next_node(late)) is not None:
            chosen.append(node)
        return chosen

    def round(self, nodes: list[Node]) -> None:
        """Answer the boxes that are out of the tree, at their largest limits."""
        tasks, ledger = [], self.ledger
        for node in nodes:
            widen = node.value + WIDEN * ledger.slack if self.fine else np.inf
            tasks.append(self.answering(node.box.high, widen))
        self.send(tasks)
        ledger.held = []
        for node in nodes:
            self.look_closer(node.box.high)
            ledger.settle(node)

    def answering(self, position: tuple[int, ...], widen: float = np.inf) -> Task:
        """The task of answering a menu point from the nearest basis; ``widen``: F from which outer cuts follow, $."""
        ledger, request = self.ledger, Request("answer", self.menu.design(position))
        items, loose = tuple(ledger.pool.items), LOOSE * ledger.slack
        return Task(self.name, items, self.start(position), request, ledger.target, widen, loose)

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
        for found in run(joblib.delayed(explore)(task, self.packed) for task in tasks):
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
        pool = self.ledger.pool
        joint = build(self.joint.instance, self.joint.sees_network, self.joint.bare, pool.items)
        if position in self.ledger.known:
            joint.warm.set_basis(self.pooled(self.ledger.known[position].row.basis))
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
        lower = min(self.lower_bound, upper)
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


# SCIP as the sole engine: one tree of SCIP's over the master, its rows made where SCIP's points ask for them.
#
# SCIP starts with the rows for the whole menu. Whenever a relaxation settles on a menu point that no answer covers, the
# follower is answered there, as in the tree search, and the new rows enter SCIP's tree (lazy constraints). F is
# asked to
# be below the incumbent by the gap, so that SCIP ends with ``infeasible`` once nothing better is left. Its branching
# shares no line with the tree search: the two engines' bounds check each other.


PRIORITY = -1_000_000  # after integrality and products: only whole menu points are answered


class LazySearch(Search):
    """A search whose tree is SCIP's. The follower is answered at one point at a time."""

    def __init__(self, joint, gap: float, *rest) -> None:
        # a thousandth of the gain is left to SCIP's tolerances
        super().__init__(joint, max(gap - MARGIN, gap / 2), *rest)
        self.proved = -np.inf  # what SCIP's tree has proved of F, $

    @property
    def lower_bound(self) -> float:
        return min(self.proved, self.ledger.upper_bound)

    def run(self, time_limit: float | None) -> bool:
        """Search until SCIP has nothing left below the target or time is up; whether the gap was reached."""
        if not self.ledger.pool.rows:
            self.begin()
        ledger = self.ledger
        # An answer's cut holds F at a millionth of R, which SCIP's LP cannot take; its row for F says the same.
        plain = [row.cut for row in ledger.pool.rows if row.request.kind in ("support", "weighed")]
        model = MasterModel(replace(ledger.master(), cuts=plain), min(ledger.target, float(ledger.box[1][0])))
        handler = _Answers(self, model)
        last = {"enfopriority": PRIORITY, "chckpriority": PRIORITY}
        model.scip.includeConshdlr(handler, "answers", "asks the follower", **last, needscons=False)
        model.scip.setParam("misc/allowstrongdualreds", False)  # rows to come may forbid what looks dominated
        model.scip.setParam("misc/allowweakdualreds", False)
        model.scip.setParam("misc/catchctrlc", False)
        if time_limit is not None:
            model.scip.setParam("limits/time", max(0.0, time_limit - self.progress.seconds))
        try:
            model.scip.optimize()
        except Exception as error:  # PySCIPOpt's own kind, for trouble in SCIP's LP
            raise handler.error or SolverError(f"SCIP broke off: {error}") from error
        if handler.error is not None:
            raise handler.error
        status = model.scip.getStatus()
        self.note(model, status == "infeasible")
        self.report()
        if status not in ("infeasible", "optimal"):
            return False
        # what SCIP ruled out by branching on limits, the rows are to show by themselves: proof.npz holds rows
        return Search.run(self, time_limit)

    def note(self, model: MasterModel, ended: bool = False) -> None:
        """Take SCIP's bound; nothing is known above the limit that it is asked to stay below."""
        below = model.limit if ended else min(model.scip.getDualbound(), model.limit)
        slack = SLACK * max(1.0, abs(below))  # SCIP misses rows by its tolerance
        self.proved = max(self.proved, below - slack)

    def answer_at(self, position: tuple[int, ...], model: MasterModel) -> None:
        """Answer the box around a menu point, and hand the new rows to SCIP."""
        ledger, pool = self.ledger, self.ledger.pool
        box = ledger.open_box(position)
        begin = len(pool.rows)
        self.send([self.answering(box.high)])
        self.look_closer(box.high)
        model.lower_limit(ledger.target)
        for row in pool.rows[begin:]:
            if row.z is not None:
                model.add_response(row.z)
        known = ledger.known[box.high]
        model.add_answer(known.box, known.least)
        self.note(model)
        self.report()
        self.save_in_time()


class _Answers(Conshdlr):
    """SCIP's question whether a point of the master is one that the follower's answers allow."""

    def __init__(self, search: LazySearch, model: MasterModel) -> None:
        self.search, self.master, self.error = search, model, None

    def _answered(self, solution) -> bool:
        position = self.master.position(solution)
        return position is not None and self.search.ledger.open_box(position) is None

    def conscheck(self, constraints, solution, *_):
        return {"result": SCIP_RESULT.FEASIBLE if self._answered(solution) else SCIP_RESULT.INFEASIBLE}

    def consenfolp(self, constraints, n_useful, infeasible):
        position = self.master.position()
        if position is None or infeasible:
            return {"result": SCIP_RESULT.INFEASIBLE}
        if self.search.ledger.open_box(position) is None:
            return {"result": SCIP_RESULT.FEASIBLE}
        try:
            self.search.answer_at(position, self.master)
        except BaseException as error:  # SCIP's C code cannot carry it: it goes on from the search
            self.error = error
            self.master.scip.interruptSolve()
            return {"result": SCIP_RESULT.INFEASIBLE}
        return {"result": SCIP_RESULT.CONSADDED}

    def consenfops(self, constraints, n_useful, infeasible, objective_infeasible):
        return {"result": SCIP_RESULT.SOLVELP}

    def conslock(self, constraint, locktype, n_positive, n_negative):
        for variable in self.master.scip.getVars():
            self.master.scip.addVarLocksType(variable, locktype, n_positive + n_negative, n_positive + n_negative)


# The hybrid of Benders cuts and column-and-constraint generation: the best design of a menu with a proved gap.


ENGINES = {"tree": Search, "scip": LazySearch}


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
    ideal: End | None = None,
    engine: str = "tree",
) -> HybridResult:
    """The best design of the menu, to within ``gap`` of the gain between flat tariff and first best (:eq:`eq-gap`).

    joint: the instance's LP, at whose last basis the search starts; f_flat, f_first_best: social cost of both, $;
    ideal: the first best's LP, at whose basis the rows for the whole menu start; time_limit: s, after which the search
    stops with the bounds it has, as it does on Ctrl-C; state: file from which a broken run of the same ``origin`` goes
    on; engine: ``tree``, our best-first tree, or ``scip``, one tree of SCIP's with lazy rows.
    Raises InfeasibleError where no design recovers the revenue, SolverError where time is up before one is found,
    InputError for an unknown engine.
    """
    if engine not in ENGINES:
        raise InputError("--engine", "engine", f"unknown engine {engine!r}", f"choose one of {', '.join(ENGINES)}")
    search = ENGINES[engine](joint, gap, f_flat, f_first_best, jobs, progress, ideal)
    search.keep(state, origin)
    finished = False
    try:
        finished = search.run(time_limit)
    except KeyboardInterrupt:
        search.save()
        if search.ledger.best is None:
            raise
    return search.result(finished)
