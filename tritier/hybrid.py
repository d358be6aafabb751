"""The hybrid of Benders cuts and column-and-constraint generation: the best design of a menu with a proved gap.

Search: a best-first tree over the menu bounds F by a small LP over the pooled cuts and responses; menu points with the
smallest bound are explored by the follower LP, which adds cuts and responses for the whole menu, until no point can
beat the incumbent by more than the gap. SCIP's proof from the pool alone is not written yet: results say "not run".
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from tritier import hybrid_state
from tritier.cuts import TIE_BREAK, Separation, Shape, response, touched
from tritier.dso import loss_price
from tritier.errors import InfeasibleError, InputError
from tritier.hybrid_explore import Answer, Point, Task, explore
from tritier.hybrid_pool import Pool, starts_with
from tritier.hybrid_progress import Progress
from tritier.joint import JointLP
from tritier.menu_search import Box, BoxLP, BoxTree, Node
from tritier.optimistic import Response, optimistic_response

LANES = 2  # independent sequences of points; a constant, so that results do not depend on the number of workers
POINTS = 2  # points of a lane in one round
TANGENTS = 3  # loss tangents of the search's LP; incumbents are always evaluated with exact losses
VISITS = 6  # explorations of one point before its bound is taken as final
LOCAL = 6  # neighbours of a new incumbent that are evaluated
LOSS_SHARE = 0.02  # of the slack: understatement of losses at which the search's LP gets another tangent
SAVE_EVERY = 20.0  # s
MOST_TANGENTS = 30  # of the incumbents' LP, before it starts anew


@dataclass(frozen=True, eq=False)
class HybridResult:
    """The best design found, bounds on the best there is, $, and how they came about."""

    best: Response
    lower_bound: float
    upper_bound: float
    gap: float  # share of the gain between flat tariff and first best
    menu_points: int
    lp_solves: int
    trace: pd.DataFrame
    proof: str  # not run: the tree's bound is the only one yet
    pool: Pool
    explored: int  # menu points at which the follower was solved

    def write_proof(self, path: Path) -> None:
        """Store every cut with its duals and every response with its decisions."""
        self.pool.save(Path(path), bounds=np.array([self.lower_bound, self.upper_bound]))


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
) -> HybridResult:
    """The best design of the menu, to within ``gap`` of the gain between flat tariff and first best (:eq:`eq-gap`).

    joint: the instance's LP; f_flat, f_first_best: social cost of both, $; time_limit: s, after which the search
    stops with the bounds it has, as it does on Ctrl-C; state: file from which a broken run goes on. Raises InputError
    where no design recovers the revenue.
    """
    with tempfile.TemporaryDirectory() as folder:
        search = Search(joint, gap, f_flat, f_first_best, jobs, progress, state, Path(folder))
        try:
            search.run(time_limit)
        except KeyboardInterrupt:
            search.interrupted = True
        if state is not None:
            hybrid_state.save(search)
        if search.best is None:
            raise InputError(
                "study.yaml",
                "menus",
                "no design found that recovers the fixed cost",
                "offer higher tariffs, or more time",
            )
        return search.result("not run")


class Search:
    """The state of a search: pool, small LP, tree, incumbent."""

    def __init__(self, joint: JointLP, gap, f_flat, f_first_best, jobs, say, state, folder: Path) -> None:
        self.instance, self.joint, self.jobs, self.state = joint.instance, joint, jobs, state
        self.gain = f_flat - f_first_best
        self.slack = gap * self.gain
        self.shape = Shape.of(joint)
        loads = [load for load in joint.history if isinstance(load, np.ndarray)][1:]
        self.pool = Pool([*loads[-TANGENTS:], *joint.blocks])
        at = touched(joint)
        self.box = (joint.lp.col_lower[at].copy(), joint.lp.col_upper[at].copy())
        self.lp = BoxLP(self.instance, self.shape, *self.box)
        self.menu = self.lp.menu
        self.separation = Separation(self.shape)
        self.tree = BoxTree(self.lp)
        self.best: Response | None = None
        self.values: dict[tuple[int, ...], float] = {}
        self.visits: dict[tuple[int, ...], int] = {}
        self.final = np.inf  # smallest bound of the points that are explored to the end
        self.held: list[Node] = []
        self.solves = 0
        self.interrupted = False
        self.progress = Progress(self.gain, say)
        self.lanes: list[tuple[bytes, bytes] | None] = [None] * LANES
        self.store = str(folder / "lp.joblib")
        joblib.dump((self.instance, joint.sees_network, joint.bare), self.store)
        self._saved = time.perf_counter()
        if state is not None and state.exists():
            hybrid_state.resume(self, state)

    @property
    def upper_bound(self) -> float:
        return np.inf if self.best is None else self.best.social.total

    @property
    def lower_bound(self) -> float:
        waiting = min((node.value for node in self.held), default=np.inf)
        bound = min(self.tree.lower_bound, self.final, waiting, self.upper_bound)
        return max([bound] + [row[2] for row in self.progress.rows[-1:]])

    @property
    def target(self) -> float:
        """Bounds from here on are good enough."""
        return self.upper_bound - self.slack

    def run(self, time_limit: float | None) -> None:
        """Search until the gap is reached, the menu is exhausted, or time is up."""
        if not self.pool.cuts:
            self.begin()
        while time_limit is None or self.progress.seconds < time_limit:
            self.held = self.next_points()
            if not self.held:
                break
            self.round()
            self.progress.report(self.lower_bound, self.upper_bound, self.total_solves)
            if self.state is not None and time.perf_counter() - self._saved > SAVE_EVERY:
                hybrid_state.save(self)
        self.progress.report(self.lower_bound, self.upper_bound, self.total_solves)

    @property
    def total_solves(self) -> int:
        return self.solves + self.joint.warm.solves

    def begin(self) -> None:
        """The first best, the corners of the tariff menu at the loosest limits, and at the tightest its ends."""
        e, root = self.shape.energies, self.menu.root
        ends = [tuple(dict.fromkeys((a, b))) for a, b in zip(root.low[:e], root.high[:e], strict=True)]
        loose = [corner + root.high[e:] for corner in product(*ends)]
        tight = [root.low[:e] + root.low[e:], root.high[:e] + root.low[e:]]
        first = np.zeros(self.shape.size)
        first[:3] = 1.0, TIE_BREAK, TIE_BREAK
        points = [Point(None, np.inf, direction=tuple(first))]
        points += [Point(self.menu.design(p), -np.inf, visits=-1) for p in dict.fromkeys(loose + tight)]
        self.send(points)
        middle = tuple((a + b) // 2 for a, b in zip(root.low, root.high, strict=True))
        for position in dict.fromkeys([root.high[:e] + root.low[e:], middle, root.high]):
            self.evaluate(position)
        self.improve()

    def next_points(self) -> list[Node]:
        """The next menu points to explore, of different tariffs, out of the tree."""
        chosen: list[Node] = []
        again: list[Node] = []
        stop = min(self.target, self.final)
        while len(chosen) < LANES * POINTS:
            node = self.tree.next_point(stop)
            if node is None:
                break
            known = {n.box.low[: self.menu.prices] for n in chosen}
            (again if node.box.low[: self.menu.prices] in known else chosen).append(node)
            if len(again) > 4 * LANES * POINTS:
                break
        for node in again:
            self.tree.push(node.box, node.value, node.version, node.bound)
        return chosen

    def round(self) -> None:
        """Explore the points that are out of the tree and put them back with their new bounds."""
        nodes, points, late = self.held, [], []
        for node in nodes:
            position = node.box.low
            visits = self.visits.get(position, 0)
            self.visits[position] = visits + 1
            if visits == 0:
                points.append(Point(self.menu.design(position), self.target))
                continue
            late.append(position)
            margin, direction = self.separation.direction(node.bound.z, self.menu.values(position)[: self.menu.prices])
            if visits > 2 and margin > 1e-3 * self.slack:
                points.append(Point(None, self.target, direction=tuple(direction)))
            else:
                points.append(Point(self.menu.design(position), self.target, visits=visits))
        self.send(points)
        for position in late:
            if position not in self.values:
                self.evaluate(position)
                self.improve()
        if self.best is None:
            for node in nodes:
                self.evaluate(node.box.low)
        if late and self.loose_losses() > LOSS_SHARE * self.slack:
            self.pool.items.append(self.joint.net_load(self.pool.columns[-1].x))
        self.lp.tighten()
        self.held = []
        for node in nodes:
            bound = self.lp.bound(node.box)
            if bound is None:
                continue
            value = max(node.value, bound.value)
            if self.visits[node.box.low] >= VISITS and value < self.target:
                self.final = min(self.final, value)
            else:
                self.tree.push(node.box, value, self.lp.version, bound)

    def loose_losses(self) -> float:
        """By how much the latest response's network cost is understated by the loss tangents, $."""
        column = self.pool.columns[-1]
        load = self.joint.net_load(column.x)
        exact = float(
            (loss_price(self.instance) * self.joint.exact_losses(load)).sum(axis=0) @ self.instance.days.probability
        )
        charge = self.instance.rules.demand_charge * np.maximum(load.sum(axis=0).max(axis=0), 0)
        return exact + float(charge @ self.instance.days.probability) - float(column.z[2])

    def send(self, points: list[Point]) -> None:
        """Explore points in lanes, and pool what they find."""
        share = [tuple(points[k::LANES]) for k in range(LANES)]
        items = tuple(self.pool.items)
        tasks = [Task(self.store, items, self.lanes[k], share[k]) for k in range(LANES) if share[k]]
        run = joblib.Parallel(n_jobs=min(self.jobs, LANES))
        for k, answer in enumerate(run(joblib.delayed(explore)(task) for task in tasks)):
            self.lanes[k] = self.collect(answer)

    def collect(self, answer: Answer) -> tuple[bytes, bytes] | None:
        """Pool the cuts and responses of a task; returns the basis for the lane's next one, if its rows still fit."""
        self.pool.learn(answer.items)
        self.solves += answer.solves
        for found in answer.found:
            for cut in found.cuts:
                ordered = self.pool.in_order(self.joint, cut.duals, answer.items)
                self.pool.cuts.append(type(cut)(cut.direction, cut.value, ordered))
                self.lp.add_cut(cut)
            for column in found.columns:
                self.add_column(column)
        return answer.basis if starts_with(self.pool.items, answer.items) else None

    def add_column(self, column) -> None:
        kept = type(column)(column.z, column.x[: self.joint.bare.cost.size])
        self.pool.columns.append(kept)
        self.lp.add_column(kept)
        self.separation.add(kept)

    def evaluate(self, position: tuple[int, ...]) -> float:
        """Exact social cost of a menu point, an incumbent where it is the best so far."""
        if position in self.values:
            return self.values[position]
        if self.joint.tangents > MOST_TANGENTS:
            spent = self.joint.warm.solves
            self.joint = self.joint.fresh(TANGENTS)
            self.solves += spent
        try:
            found = optimistic_response(self.joint, self.menu.design(position))
        except InfeasibleError:
            self.values[position] = np.inf
            return np.inf
        column = response(self.joint, found.x)
        if column is not None:
            self.add_column(column)
        self.values[position] = found.social.total
        if found.social.total < self.upper_bound:
            self.best = found
            self.lp.set_cutoff(self.upper_bound)
        return self.values[position]

    def improve(self) -> None:
        """Local search: the neighbours of the incumbent with the smallest bounds, until none of them is better."""
        tried = 0
        while self.best is not None and tried < LOCAL:
            centre, before = self.menu.positions(self.best.design), self.upper_bound
            near = []
            for position in self.menu.neighbours(centre):
                bound = None if position in self.values else self.lp.bound(Box(position, position))
                if bound is not None and bound.value < before:
                    near.append((bound.value, position))
            for _, position in sorted(near):
                tried += 1
                self.evaluate(position)
                if self.upper_bound < before or tried >= LOCAL:
                    break
            if self.upper_bound >= before:
                return

    def result(self, proof: str) -> HybridResult:
        """The answer with its bounds."""
        share = (self.upper_bound - self.lower_bound) / self.gain if self.gain > 0 else np.inf
        return HybridResult(
            best=self.best,
            lower_bound=self.lower_bound,
            upper_bound=self.upper_bound,
            gap=share,
            menu_points=self.instance.menu.n_points,
            lp_solves=self.total_solves,
            trace=self.progress.trace,
            proof=proof,
            pool=self.pool,
            explored=len(self.visits),
        )
