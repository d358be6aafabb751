"""The hybrid of integer L-shaped cuts and column-and-constraint generation: the best design of a menu, proved.

Enumeration of tariffs by dominance: a menu point is answered by one solve of the follower's LP, chance blocks added
until none is violated, and the answer holds for every tighter limit that its response respects. Every tariff is
answered at its loosest limits, and least F excludes limits for all tariffs at once. What is still open is answered
next, loosest limits first, until no point can beat the incumbent by more than the gap. SCIP then proves the same from
the rows alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import joblib
import numpy as np
import pandas as pd

from tritier.errors import InputError, Interrupted, NoRecoveryError, SolverError
from tritier.inputs.instance import Design
from tritier.model.chance import Block
from tritier.model.market import line_position
from tritier.reformulation.joint import JointLP
from tritier.reformulation.lp import LARGE, Basis, Clock
from tritier.search import pool as stored
from tritier.search.check import check_pool
from tritier.search.cuts import FINE, Request, Row
from tritier.search.menu import Coordinates, Ledger, Point
from tritier.search.pool import TANGENTS, Item, Pool, Unfinished, binding, build, few, key, reorder
from tritier.search.references import REFERENCES, SCAN, Reference, costs_of
from tritier.search.responses import LOSS_GAP, Response, optimistic_response
from tritier.search.scip import OTHER, CoveringModel, Verdict, below, prove
from tritier.search.work import Found, Task, answer_name, pack, solve_numbered

STARTS = ("again", "other limits", "other tariff", "from the flat tariff")  # where an answer begins
COLUMNS = ("seconds", "lp_solves", "lower_bound", "upper_bound")
ENGINES = ("tree", "scip")
STEPS = ("least", "answer", "sharpen")  # kinds of rounds
LOOKED_AT = ("confirmed", "sharpened")  # points of a state that are not looked at again
ROUND = 8  # designs answered at once; a constant, so that results do not depend on the number of workers
FAR = 0.1  # of the largest limit needed: a response that must give up more of its flows is not begun from
LOOSE = 0.1  # of the slack: understatement of losses at which an answer gets another loss tangent
SILENCE = 10.0  # s without a line, after which a round says how far it is
WAITING = "waiting"  # pools of a state: answers of the round that broke off


class Progress:
    """The trace of a search. Lower bounds never fall and upper bounds never rise."""

    def __init__(
        self,
        gain: float,
        say: Callable[[str], None] | None = None,
        rows: Sequence[tuple[float, int, float, float]] = (),
        seconds: float = 0.0,
    ) -> None:
        self.gain = gain
        self.say = say
        self.rows: list[tuple[float, int, float, float]] = list(rows)
        self._begin = time.perf_counter() - seconds
        self._told = time.perf_counter()

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
            self._told = time.perf_counter()

    def step(self, done: int, of: int, solves: int, so_far: str) -> None:
        """Print how far a round of answers is, where nothing was printed for a while."""
        if self.say and done < of and time.perf_counter() - self._told >= SILENCE:
            self.say(f"{self.seconds:7.0f} s  {so_far}  {solves} LPs  {done} of {of} answers of this round")
            self._told = time.perf_counter()

    @property
    def trace(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=list(COLUMNS))


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
    pools: dict[str, Pool]  # rows of the flat tariff, of the first best, of the search, and of the scan
    table: pd.DataFrame  # the answers

    @property
    def proof(self) -> str:
        return "not run" if self.verdict is None else self.verdict.word

    @property
    def rows(self) -> list[Row]:
        """Every row of the proof that speaks of the menu."""
        return [row for name, pool in self.pools.items() if name != SCAN for row in pool.rows]

    def write_proof(self, path: Path) -> None:
        """Store every row with the basis that proves it."""
        members: dict[str, Any] = dict(stored.named(self.pools))
        np.savez_compressed(path, **members)


class Search:
    """A ledger, the workers that fill it, and what is reported and stored on the way."""

    def __init__(
        self,
        joint: JointLP,
        flat: Reference,
        ideal: Reference,
        beside: Sequence[Design],
        gap: float,
        jobs: int,
        say: Callable[[str], None] | None,
        clock: Clock,
    ) -> None:
        self.clock = clock
        self.joint, self.jobs, self.flat, self.ideal = joint, jobs, flat, ideal
        self.gain = flat.social_cost - ideal.social_cost
        self.slack = gap * self.gain
        self.offered = flat.design in beside
        menu, rows = Coordinates.of(joint.instance.menu, beside), flat.pool.rows if self.offered else []
        self.ledger = Ledger(menu, joint.instance.least_revenue, [*ideal.pool.rows, *rows])
        self.pool = Pool([])
        tangents: list[Item] = [item for item in flat.items if isinstance(item, np.ndarray)]
        self.pool.learn(tangents[-TANGENTS:])
        self.pool.learn(
            [item for reference in (flat, ideal) for item in reference.items if not isinstance(item, np.ndarray)]
        )
        self.begin = reorder(joint, flat.pool.rows[-1].basis, flat.items, self.pool.items)
        self.confirmed: set[Point] = set()  # those with an exact response, or with none that recovers
        self.sharpened: set[Point] = set()
        self.step: tuple[str, list[Point]] = ("", [])  # the round this is in
        self.waiting: dict[Request, Found] = {}  # its answers so far; they count once all are there
        self.ended: list[str] = []  # pieces that have ended: the next state holds what they found
        self.solves = 0
        self.progress = Progress(self.gain, say)
        self.state: Path | None = None
        self.origin = ""
        self.name, self.packed = uuid4().hex, pack(joint)
        self._saved = time.perf_counter()

    def add_flat(self) -> None:
        """The flat tariff as the first incumbent, where it is on the menu and there is none yet."""
        if self.ledger.best is not None or not self.offered:
            return
        point = self.ledger.menu.point(self.flat.design)
        if self.flat.solved:
            self.ledger.propose(self.flat.social_cost, point)
        else:  # read from a state, which is not believed
            self.confirm(point)

    @property
    def centre(self) -> int:
        """The tariff near which the search goes on: the incumbent's, or one in the middle of the menu."""
        return self.ledger.menu.middle if self.ledger.best is None else self.ledger.best[1][0]

    @property
    def target(self) -> float:
        """Bounds from here on are good enough, $; F of the incumbent, found once more, may be a little higher."""
        return self.ledger.upper_bound - self.slack + min(LOSS_GAP, 0.5 * self.slack)

    def resume(self, state: Path | None, origin: str) -> None:
        """Write what is found to ``state`` now and then; go on from there where a run of this origin broke off.

        Nothing of the file is believed: its rows are proved again from their bases, its incumbent is solved again.
        """
        self.state, self.origin = state, origin
        if state is None or not state.is_file():
            return
        with stored.naming_state(state):
            arrays = stored.read(state, origin)
            if "trace" not in arrays:
                return  # only both references were found
            pool, trace = stored.pools_of(arrays)["search"], arrays["trace"]
            if trace.shape[1:] != (len(COLUMNS),) or not np.isfinite(trace).all():
                raise ValueError("the trace is no table of numbers")
            for row in check_pool(self.joint, pool, "search", self.jobs):
                self.ledger.learn(row)
            self.pool = pool
            best = tuple(int(k) for k in arrays["best"])
            if best:
                self.ledger.menu.design(best)
            self.resume_round(arrays)
        if best:
            self.confirmed.discard(best)
            self.confirm(best)
        seconds, solves = float(trace[-1][0]) if len(trace) else 0.0, int(arrays["solves"])
        self.progress = Progress(
            self.gain, self.progress.say, [(a, int(k), b, c) for a, k, b, c in trace.tolist()], seconds
        )
        self.solves += solves

    def resume_round(self, arrays: dict[str, np.ndarray]) -> None:
        """Read the round that a run broke off in: its points, which of them were looked at more closely, and its
        answers so far, proved again."""
        points = {name: [tuple(point) for point in arrays[name].tolist()] for name in ("step", *LOOKED_AT)}
        for point in points["step"]:
            self.ledger.menu.design(point)
        self.step = str(arrays["step_name"]), points["step"]
        if self.step[0] not in ("", *STEPS):
            raise ValueError(f"{self.step[0]} is no kind of round")
        self.confirmed, self.sharpened = (set(points[name]) for name in LOOKED_AT)
        for name, pool in stored.pools_of(arrays).items():
            if name.startswith(WAITING):
                rows, solves = check_pool(self.joint, pool, name, self.jobs), int(arrays[f"solves_{name}"])
                self.waiting[rows[0].request] = Found(rows, pool.items, solves, Clock())

    def save(self) -> None:
        """Keep rows, trace, incumbent and the round this is in, whole or not at all."""
        if self.state is None:
            return
        best = np.array(self.ledger.best[1] if self.ledger.best else [], dtype=int)
        trace = np.array(self.progress.rows, dtype=float).reshape(-1, len(COLUMNS))
        arrays = {"trace": trace, "best": best, "references": costs_of((self.flat, self.ideal))}
        arrays |= {"solves": np.array(self.solves), "step_name": np.array(self.step[0])}
        for name, points in zip(("step", *LOOKED_AT), (self.step[1], self.confirmed, self.sharpened), strict=True):
            arrays[name] = np.array(list(points), dtype=int).reshape(len(points), 1 + self.ledger.everywhere.ndim)
        pools = self.pools
        for k, found in enumerate(self.waiting.values()):
            pools[f"{WAITING}{k}"] = Pool(found.items, found.rows)
            arrays[f"solves_{WAITING}{k}"] = np.array(found.solves)
        stored.save(self.state, self.origin, pools, arrays)
        for name in self.ended:
            stored.beside(self.state, name).unlink(missing_ok=True)
        self.ended.clear()
        self._saved = time.perf_counter()

    def save_now_and_then(self) -> None:
        """:meth:`save`, unless that has just been done."""
        if time.perf_counter() - self._saved > stored.SAVE_EVERY:
            self.save()

    @property
    def pools(self) -> dict[str, Pool]:
        """Rows of the flat tariff, of the first best, of the search, and of the scan for the flat tariff."""
        references = dict(zip(REFERENCES, (self.flat.pool, self.ideal.pool), strict=True))
        return references | {"search": self.pool, SCAN: self.flat.scan}

    def run(self, engine: str, time_limit: float | None) -> bool:
        """Search until the gap is reached or time is up; whether the rows now exclude all that is better."""
        choose = {"tree": self.open_points, "scip": self.point_of_scip}[engine]
        rounds = dict(zip(STEPS, (self.tighten, self.answer, self.sharpen), strict=True))
        while time_limit is None or self.progress.seconds < time_limit:
            if not self.step[1]:
                self.step = self.next_round(choose, engine)
            name, points = self.step
            if not points:
                self.confirm_others()
                self.report()
                return True
            rounds[name](points)
            self.step, self.waiting = ("", []), {}
            self.report()
            self.save_now_and_then()
        return False

    def next_round(self, choose: Callable[[], list[Point]], engine: str) -> tuple[str, list[Point]]:
        """What is done next, and at which points; at none where all is done."""
        if (self.ledger.unanswered == 0 or engine == "scip") and (points := self.tight_limits()):
            return "least", points
        if points := choose():
            return "answer", points
        return "sharpen", [p for p in self.ledger.loose(self.target) if p not in self.sharpened][:ROUND]

    def open_points(self) -> list[Point]:
        """The next points to answer: the loosest of tariffs without an answer, near the incumbent's first, then limits
        of the incumbent's tariff, then those of others."""
        ledger, tariff = self.ledger, self.centre
        if ledger.unanswered:
            return list(islice(ledger.all_open(self.target, tariff), ROUND))
        chosen = ledger.open_points(tariff, self.target)
        others = (point for point in ledger.all_open(self.target, tariff) if point[0] != tariff)
        return [*chosen, *islice(others, max(0, ROUND - len(chosen)))][:ROUND]

    def tight_limits(self) -> list[Point]:
        """Of each line the tightest limit that least F may exclude for a round of tariffs at once, other limits at
        their largest: one that no answer so far respects by itself, and that no row on F was asked for. What costs
        society too much for every tariff need not be answered tariff by tariff."""
        ledger, menu = self.ledger, self.ledger.menu
        found: list[Point] = []
        if not self.joint.sees_network or not ledger.answers:
            return found
        needs = np.min([row.need for row in ledger.answers.values()], axis=0)
        asked = {tuple(limit for _, limit in row.request.design.capacity) for row in ledger.least}
        for k, levels in enumerate(menu.limits):
            place = [*menu.loosest]
            while place[k] and not ledger.everywhere[(*place[:k], place[k] - 1, *place[k + 1 :])] >= self.target:
                place[k] -= 1
            point = (self.centre, *place)
            waiting = sum(bool(ledger.open_at(tariff, self.target)[tuple(place)]) for tariff in ledger.bound)
            limits = tuple(limit for _, limit in menu.design(point).capacity)
            if levels[place[k]] < needs[k] and limits not in asked and waiting >= ROUND:
                found.append(point)
        return found

    def tighten(self, points: list[Point]) -> None:
        """Ask for least F at the limits of points."""
        self.send([(point, Request("least", self.ledger.menu.design(point))) for point in points])

    def least_at(self, point: Point, request: Request) -> Task:
        """Least F at a point's limits, from inside, with what the first best holds and the tight lines' blocks at all
        hours."""
        blocks = self.capacity_blocks(np.less(point[1:], self.ledger.menu.loosest))
        items = {key(item): item for item in few([*self.ideal.items, *blocks])}
        return Task(self.name, tuple(items.values()), None, request, np.inf, "least F at tight limits", np.inf)

    def capacity_blocks(self, chosen: np.ndarray) -> list[Block]:
        """The capacity blocks of the chosen of the menu's lines, at all hours."""
        lines = [line_position(self.joint.instance, line) for line in np.array(self.joint.lines)[chosen].tolist()]
        return [Block("capacity", line, t) for line in lines for t in range(self.joint.instance.days.n_hours)]

    def point_of_scip(self) -> list[Point]:
        """A point that SCIP finds where the rows leave one open, moved to the loosest limits that are open there."""
        ledger = self.ledger
        model = CoveringModel(ledger, self.target, ledger.boxes)
        if model.solve() == "infeasible" or (found := model.point()) is None:
            return self.open_points()  # what SCIP's tolerances overlook
        tariff = found[0]
        if tariff == OTHER:
            tariff = next(k for k in ledger.menu.from_near(self.centre) if k not in ledger.bound)
        looser = [
            point for point in ledger.open_points(tariff, self.target) if np.greater_equal(point, found)[1:].all()
        ]
        return looser[:1] or self.open_points()

    def answer(self, points: list[Point]) -> None:
        """Answer points, and confirm those that may be incumbents."""
        self.send([(point, Request("answer", self.ledger.menu.design(point))) for point in points])
        for point in sorted(points, key=lambda p: self.ledger.answers[p].social_cost):
            row = self.ledger.answers[point]
            hidden = row.recovered < 0 and self.ledger.bound_at(point) < self.target
            if hidden or (row.recovered >= 0 and row.social_cost < self.target):
                self.confirm(point)

    def sharpen(self, points: list[Point]) -> None:
        """Answer points again whose bound is below the target: with less weight on F, so that the follower is held
        closer to its optimum."""
        self.sharpened.update(points)
        for point in points:
            if self.ledger.bound_at(point) < self.target:
                self.confirm(point)
        left = [point for point in points if self.ledger.bound_at(point) < self.target]
        self.send([(point, Request("answer", self.ledger.menu.design(point), FINE)) for point in left])

    def confirm_others(self) -> None:
        """Confirm what may be better than the incumbent by less than the gap, best first."""
        answers = self.ledger.answers
        for point in sorted(answers, key=lambda p: answers[p].social_cost):
            if answers[point].recovered >= 0 and answers[point].social_cost < self.ledger.upper_bound:
                self.confirm(point)

    def confirm(self, point: Point) -> None:
        """Propose the exact optimistic response at a point as the incumbent: an answer's own point gives the follower
        a little too much (:eq:`eq-optimistic`)."""
        if point in self.confirmed:
            return
        self.confirmed.add(point)
        with self.clock.during("exact response"), suppress(NoRecoveryError):
            unfinished = Unfinished(self.state, "response", self.origin, repr(point))
            if unfinished.basis is None:
                unfinished.items, unfinished.basis, _ = self.start(point)
            _, found = self.exact(point, unfinished)
            self.ledger.propose(found.social.total, point)
        self.ended.append("response")
        self.save_now_and_then()

    def exact(self, point: Point, unfinished: Unfinished) -> tuple[JointLP, Response]:
        """An LP with some items, and the exact optimistic response at a point found with it, from a basis or from
        inside."""
        joint = build(self.joint.instance, self.joint.sees_network, self.joint.bare, unfinished.items)
        joint.warm.clock = self.clock
        design = self.ledger.menu.design(point)
        unfinished.begin(joint)
        if unfinished.basis is None:
            joint.set_design(design)
            joint.warm.start_inside(joint.cost(design))
        try:
            return joint, optimistic_response(joint, design)
        finally:
            self.solves += joint.warm.solves

    def task(self, point: Point, request: Request) -> Task:
        """A request at a point, from the basis of the nearest point solved so far."""
        items, basis, begin = self.start(point)
        return Task(
            self.name, tuple(items), basis, request, self.ledger.upper_bound, f"answer, {begin}", LOOSE * self.slack
        )

    def start(self, point: Point) -> tuple[list[Item], Basis | None, str]:
        """Where to begin at a point: with the blocks and tangents that hold something at the nearest answer, from its
        basis where it is of the same tariff; and how near it is. From another tariff's basis the simplex takes longer
        than an interior point, which keeps nothing of it, and so it does where limits take away much of the flows: the
        tight lines' blocks are then there from the first solve on, at all hours, since load moves from those that
        bind to the others. A small LP holds all that is known, and keeps its basis."""
        menu, begin, basis, beyond, far = self.ledger.menu, STARTS[-1], self.begin, np.empty(0), False
        near = {menu.point(row.request.design): row for row in self.pool.rows if row.request.kind != "least"}
        if near:
            chosen = min(near, key=lambda p: menu.distance(p, point))
            basis, begin = near[chosen].basis, STARTS[(chosen != point) + (chosen[0] != point[0])]
            beyond = np.maximum(near[chosen].need - self.joint.limits_at(menu.design(point)), 0.0)
            far = bool(beyond.sum() > FAR * near[chosen].need.max(initial=0.0))
        if self.joint.bare.row_lower.size < LARGE:  # to build another LP would take longer than to solve this one
            return self.pool.items, reorder(self.joint, basis, self.pool.items, self.pool.items), begin
        items = binding(self.joint, basis, self.pool.items)
        if far:
            blocks = {key(item): item for item in [*few(items), *self.capacity_blocks(beyond > 0)]}
            return list(blocks.values()), None, begin
        if begin in STARTS[2:]:
            return few(items), None, begin
        return items, reorder(self.joint, basis, self.pool.items, items), begin

    def send(self, asked: list[tuple[Point, Request]]) -> None:
        """Work on requests, keep each answer as it comes, and learn all in the order of the requests. What a run that
        broke off has learnt or kept is not asked again."""
        known = {row.request for row in self.pool.rows}
        asked = [(point, request) for point, request in asked if request not in known]
        make = {"least": self.least_at, "answer": self.task}
        tasks = {k: make[r.kind](point, r) for k, (point, r) in enumerate(asked) if r not in self.waiting}
        workers = max(1, min(joblib.effective_n_jobs(self.jobs), len(tasks)))
        run = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
        self.ended.clear()  # what is still there of earlier rounds is overwritten, or is no start of these
        with self.clock.during(""):  # the tasks' own clocks count it
            work = (
                joblib.delayed(solve_numbered)(k, t, self.packed, self.state, self.origin) for k, t in tasks.items()
            )
            for k, found in run(work):
                self.waiting[tasks[k].request] = found
                self.ended.append(answer_name(k))
                solves = self.solves + sum(part.solves for part in self.waiting.values())
                self.progress.step(len(self.waiting), len(asked), solves, self.so_far)
                self.save_now_and_then()
        for _, request in asked:
            self.collect(self.waiting.pop(request))

    def collect(self, found: Found) -> None:
        """Enter the rows of a task."""
        self.pool.learn(found.items)
        self.solves += found.solves
        self.clock.add(found.clock)
        for row in found.rows:
            row = replace(row, basis=reorder(self.joint, row.basis, found.items, self.pool.items))
            self.pool.rows.append(row)
            self.ledger.learn(row)

    @property
    def so_far(self) -> str:
        """The bounds in words."""
        lower, upper = min(self.ledger.lower_bound, self.ledger.upper_bound), self.ledger.upper_bound
        if self.progress.rows:
            lower = max(lower, self.progress.rows[-1][2])
        if not np.isfinite(upper):
            return f"lower bound {lower:.2f} $/day, no design found yet"
        share = (upper - lower) / self.gain if self.gain > 0 else np.inf
        return f"bounds {lower:.2f} {upper:.2f} $/day, gap {share:.1%} of the achievable gain"

    def report(self) -> None:
        self.progress.report(
            min(self.ledger.lower_bound, self.ledger.upper_bound), self.ledger.upper_bound, self.solves
        )

    def result(self, finished: bool) -> HybridResult:
        """The best design with exact losses, the bounds, and SCIP's word on them.

        Its response is found once more from an LP that holds nothing of the search: among responses as good for the
        follower and society alike it hangs on the design alone, not on workers, engine, or a run that broke off.
        """
        ledger = self.ledger
        if ledger.best is None and not finished:
            raise SolverError("time was up before a design was found that recovers the cost: give the search more")
        if ledger.best is None:
            raise NoRecoveryError("no design of the menu recovers the fixed and the network cost")
        point = ledger.best[1]
        with self.clock.during("exact response"):
            joint, best = self.exact(point, Unfinished(None))
        upper = best.social.total
        ledger.require_not_below(upper, point)
        lower = min(ledger.lower_bound, upper)
        with self.clock.during("proof", "SCIP"):
            verdict = prove(ledger, below(lower, self.gain), upper, point) if finished else None
        self.progress.report(lower, upper, self.solves)
        return HybridResult(
            best=best,
            joint=joint,
            lower_bound=lower,
            upper_bound=upper,
            gap=(upper - lower) / self.gain if self.gain > 0 else np.inf,
            menu_points=ledger.menu.n_points,
            lp_solves=self.solves,
            trace=self.progress.trace,
            verdict=verdict,
            pools=self.pools,
            table=ledger.table(),
        )


def require_engine(engine: str) -> None:
    """Raise InputError where nobody of that name chooses what is answered next."""
    if engine not in ENGINES:
        raise InputError("--engine", "engine", f"unknown engine {engine!r}", f"choose one of {', '.join(ENGINES)}")


def solve(
    joint: JointLP,
    *,
    flat: Reference,
    ideal: Reference,
    beside: Sequence[Design] = (),
    gap: float = 0.05,
    time_limit: float | None = None,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
    state: Path | None = None,
    origin: str = "",
    engine: str = "tree",
    clock: Clock | None = None,
) -> HybridResult:
    """The best design of the menu, to within ``gap`` of the gain between flat tariff and first best (:eq:`eq-gap`).

    joint: the instance's LP; flat, ideal: the references of the gain
    (:func:`tritier.search.references.find_references`); beside: designs whose tariffs are offered beside the menu's
    grid, at every limit; time_limit: s, after which the search stops with the bounds it has; state: file from which
    a broken run of the same ``origin`` goes on; engine: which points are answered next, ``tree``: ours, near the
    incumbent, or ``scip``: those that SCIP finds; clock: where the seconds of the search are counted.

    Raises:
        InputError: the engine is unknown.
        NoRecoveryError: no design recovers the cost.
        SolverError: time was up before one was found.
        Interrupted: on Ctrl-C, once everything found is in ``state``.
    """
    require_engine(engine)
    clock = clock or Clock()
    search = Search(joint, flat, ideal, beside, gap, jobs, progress, clock)
    with clock.during("search"):
        search.resume(state, origin)
        search.add_flat()
    try:
        with clock.during("search"):
            return search.result(search.run(engine, time_limit))
    except KeyboardInterrupt as stop:
        search.save()
        raise Interrupted(search.so_far) from stop
