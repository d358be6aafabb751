"""SCIP as the sole engine: one tree of SCIP's over the master, its rows made where SCIP's points ask for them.

SCIP starts with the rows for the whole menu. Whenever a relaxation settles on a menu point that no answer covers, the
follower is answered there, as in the tree search, and the new rows enter SCIP's tree (lazy constraints). F is asked to
be below the incumbent by the gap, so that SCIP ends with ``infeasible`` once nothing better is left. Its branching
shares no line with the tree search: the two engines' bounds check each other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pyscipopt import SCIP_RESULT, Conshdlr

from tritier.errors import SolverError
from tritier.hybrid_master import MasterModel
from tritier.hybrid_scip import MARGIN, SLACK
from tritier.hybrid_search import Search

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
