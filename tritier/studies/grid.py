"""A radial feeder from elsewhere: pandapower, SimBench or MATPOWER networks cut to one voltage level.

The feeder is what hangs on one substation busbar; the transformer above it is not modelled, its tap changer holds the
busbar's voltage. Loops, islands, unbalanced loads and elements that a feeder of ours cannot hold are refused by name.
MATPOWER case files are read as text: matrices, and the unit conversions that such files end with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tritier.errors import InputError

INSTALL = 'install it with: pip install "tritier[import]"'
UNBALANCED = ("asymmetric_load", "asymmetric_sgen")
FOREIGN = ("gen", "trafo3w", "impedance", "ward", "xward", "dcline", "motor", "svc", "tcsc", "ssc", "vsc")
OMEGA = 2 * np.pi * 50  # 1/s, where a network gives no frequency


@dataclass(frozen=True, eq=False)
class Grid:
    """A feeder and what stands at its buses, as tables; power in kW and kvar.

    ``bus``: bus, type, p_kw, q_kvar, vn_kv, vmin_pu, vmax_pu, slack first. ``branch``: line, from_bus, to_bus, r_ohm,
    x_ohm, c_nf, closed, rating_a (NaN where none is given). ``loads``: bus, p_kw, q_kvar, profile. ``generators``: bus,
    kw, kind (pv, wind or other), profile. ``storages``: bus, kwh, kw, eta. ``profiles``: hourly shapes by role, where
    the source has its own. ``notes``: what of the source is not in these tables, a line each.
    """

    name: str
    source: str
    licence: str
    bus: pd.DataFrame
    branch: pd.DataFrame
    loads: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["bus", "p_kw", "q_kvar", "profile"]))
    generators: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["bus", "kw", "kind", "profile"]))
    storages: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["bus", "kwh", "kw", "eta"]))
    notes: tuple[str, ...] = ()
    profiles: dict[str, pd.DataFrame] = field(default_factory=dict)


def package(name: str, source: str) -> Any:
    """An optional package, or one clear line that names the extra to install."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise InputError("--from", source, f"needs the package {name.partition('.')[0]}", INSTALL) from error


def spanning_tree(source: str, edges: Iterable[tuple[object, int, int]], root: int) -> set[int]:
    """The buses fed from ``root`` by edges (name, bus, bus).

    Raises InputError naming the lines of the first loop found.
    """
    neighbours: dict[int, list[tuple[int, object]]] = {}
    for name, a, b in edges:
        neighbours.setdefault(a, []).append((b, name))
        neighbours.setdefault(b, []).append((a, name))
    parent: dict[int, tuple[int | None, object]] = {root: (None, None)}
    order = [root]
    for bus in order:  # grows while it is read
        for other, name in neighbours.get(bus, []):
            if parent[bus][1] == name:
                continue
            if other in parent:
                loop = ", ".join(str(x) for x in _loop(parent, bus, other, name))
                raise InputError(
                    "--from", source, f"is meshed: lines {loop} form a loop", "open one of them: --open LINE"
                )
            parent[other] = (bus, name)
            order.append(other)
    return set(order)


def _loop(parent: dict[int, tuple[int | None, object]], a: int, b: int, closing: object) -> list[object]:
    """Lines of the loop that the edge ``closing`` between a and b makes with the tree."""

    def up(bus: int) -> list[tuple[int, object]]:
        path = []
        above, name = parent[bus]
        while above is not None:
            path.append((bus, name))
            bus = above
            above, name = parent[bus]
        return path

    left, right = up(a), up(b)
    while left and right and left[-1] == right[-1]:
        left.pop()
        right.pop()
    return [name for _, name in left] + [name for _, name in reversed(right)] + [closing]


def require_impedance(source: str, lines: list[int], r: np.ndarray, x: np.ndarray, mend: str) -> None:
    """Raise InputError naming the first line whose resistance or reactance is negative, infinite or no number."""
    for line, values in zip(lines, np.column_stack([r, x]), strict=True):
        if not np.isfinite(values).all():
            raise InputError("--from", source, f"line {line} has an impedance that is no number", mend)
        if (values < 0).any():
            raise InputError("--from", source, f"line {line} has a negative impedance", mend)


# pandapower and SimBench


def from_pandapower(
    net: Any, name: str, source: str, licence: str, root: int | None = None, opened: Iterable[int] = ()
) -> Grid:
    """The feeder below one busbar of a pandapower network; ``root``: a bus of it, ``opened``: lines to leave out.

    Bus and line numbers are the network's own index plus one. Line charging is kept. Raises InputError for networks
    that are unbalanced, meshed, without or with several substations to choose from, or that hold other elements.
    """
    for table in UNBALANCED:
        if len(net[table]):
            raise InputError("--from", source, f"is unbalanced: it holds {table}s", "give a balanced network")
    for table in FOREIGN:
        if table in net and len(net[table]) and net[table].get("in_service", pd.Series([True])).any():
            raise InputError("--from", source, f"holds a {table}, which a feeder cannot have", "take it out of service")
    require_whole(net, source)
    node = _fused(net)
    lines = _closed_lines(net, opened, source)
    edges = [(int(k) + 1, node[row.from_bus], node[row.to_bus]) for k, row in lines.iterrows()]
    busbar = _busbar(net, node, edges, root, source)
    stubs = _stubs(net, node, opened)
    edges += stubs
    lines = net.line.loc[[k - 1 for k, _, _ in edges]]
    fed = spanning_tree(source, edges, busbar)
    require_supply(net, node, edges, fed, source)
    require_no_shunts(net, node, fed, source)
    voltage = net.bus.loc[[b for b, n in node.items() if n in fed], "vn_kv"]
    if voltage.nunique() > 1:
        raise InputError("--from", source, "joins buses of several voltage levels by lines", "mend vn_kv of its buses")
    branch = _branch_table(lines, {k: (a, b) for k, a, b in edges if a in fed}, float(net.f_hz or 50), source)
    return Grid(
        name=name,
        source=source,
        licence=licence,
        bus=_bus_table(net, node, fed, busbar),
        branch=branch,
        loads=_at_buses(net, "load", node, fed),
        generators=_generators(net, node, fed),
        storages=_storages(net, node, fed),
        notes=tuple(_left_out(net, node, edges, fed)),
    )


def _left_out(net: Any, node: dict[int, int], edges: list[tuple[int, int, int]], fed: set[int]) -> list[str]:
    """What a feeder of ours cannot hold, a line each: loads and generators behind its own transformers, loads that
    depend on voltage, conductance of lines."""
    found = []
    below, at = _behind_transformers(net, node, edges, fed)
    parts = []
    for table, word in (("load", "loads"), ("sgen", "generators"), ("storage", "storages")):
        own = net[table][net[table].in_service.astype(bool)]
        own = own[own.bus.map(node).isin(below)]
        if len(own):
            parts.append(f"{len(own)} {word} of {1e3 * float((own.p_mw.abs() * own.scaling).sum()):,.4g} kW")
    if parts:
        places = ", ".join(str(b + 1) for b in at[:5]) + (f" and {len(at) - 5} more" if len(at) > 5 else "")
        found.append(
            f"left out: {' and '.join(parts)} behind transformers at buses {places}, since a feeder is one voltage "
            "level; enter them at these buses of the source to keep them"
        )
    load = net.load[net.load.in_service.astype(bool) & net.load.bus.map(node).isin(fed)]
    columns = [c for c in load if c.startswith("const_")]
    bent = load[(load[columns].fillna(0) != 0).any(axis=1)]
    if len(bent):
        power = 1e3 * float((bent.p_mw * bent.scaling).sum())
        found.append(f"taken as constant power: {len(bent)} loads of {power:,.4g} kW that depend on voltage")
    names = {k - 1 for k, a, _ in edges if a in fed}
    leaky = net.line[net.line.index.isin(names) & (net.line.g_us_per_km.fillna(0) != 0)]
    if len(leaky):
        found.append(f"left out: the shunt conductance of {len(leaky)} lines")
    return found


def _behind_transformers(
    net: Any, node: dict[int, int], edges: list[tuple[int, int, int]], fed: set[int]
) -> tuple[set[int], list[int]]:
    """Nodes that transformers of the feeder feed, and the feeder's own nodes that carry such transformers."""
    off = set(net.switch.element[(net.switch.et == "t") & ~net.switch.closed.astype(bool)])
    trafo = net.trafo[net.trafo.in_service.astype(bool) & ~net.trafo.index.isin(list(off))]
    down = [
        (node[int(h)], node[int(v)]) for h, v in zip(trafo.hv_bus, trafo.lv_bus, strict=True) if h in node and v in node
    ]
    joined = [*down, *((a, b) for _, a, b in edges), *((b, a) for _, a, b in edges)]
    below: dict[int, list[int]] = {}
    for a, b in joined:
        below.setdefault(a, []).append(b)
    reached, order = set(fed), list(fed)
    for bus in order:  # grows while it is read
        for other in below.get(bus, []):
            if other not in reached:
                reached.add(other)
                order.append(other)
    return reached - fed, sorted({a for a, b in down if a in fed and b not in fed})


def require_whole(net: Any, source: str) -> None:
    """Raise InputError naming a load or line of a network that stands at no bus, or a load that is no number: a sum
    would lose it."""
    known = set(net.bus.index)
    for table, ends in (("load", ("bus",)), ("line", ("from_bus", "to_bus"))):
        own = net[table][net[table].in_service.astype(bool)]
        for k in own.index[~own[list(ends)].isin(known).all(axis=1)]:
            problem = f"{table} {int(k) + 1} is at a bus that it does not have"
            raise InputError("--from", source, problem, f"mend {' or '.join(ends)}, or take the {table} out of service")
    load = net.load[net.load.in_service.astype(bool)]
    for bus in load.bus[~np.isfinite(load[["p_mw", "q_mvar", "scaling"]].astype(float)).all(axis=1)]:
        mend = "mend its p_mw, q_mvar or scaling, or take it out of service"
        raise InputError("--from", source, f"holds a load at bus {int(bus) + 1} that is no number", mend)


def require_supply(
    net: Any, node: dict[int, int], edges: list[tuple[int, int, int]], fed: set[int], source: str
) -> None:
    """Raise InputError naming a load that hangs on no substation at all, that of other feeders included."""
    supplied = set(fed)
    for table, ends in (("trafo", ("hv_bus", "lv_bus")), ("ext_grid", ("bus",))):
        own = net[table][net[table].in_service.astype(bool)]
        supplied |= {node[int(b)] for end in ends for b in own[end] if int(b) in node}
    reached: set[int] = set()
    while reached != supplied:
        reached = set(supplied)
        supplied |= {c for _, a, b in edges if a in reached or b in reached for c in (a, b)}
    load = net.load[net.load.in_service.astype(bool) & ((net.load.p_mw != 0) | (net.load.q_mvar != 0))]
    for bus in load.bus:
        if int(bus) in node and node[int(bus)] not in supplied:
            mend = "close a line to it, or take its load out of service"
            raise InputError("--from", source, f"leaves the load at bus {int(bus) + 1} without supply", mend)


def require_no_shunts(net: Any, node: dict[int, int], fed: set[int], source: str) -> None:
    """Raise InputError naming a shunt of the feeder: it would be lost."""
    own = net.shunt[net.shunt.in_service.astype(bool) & ((net.shunt.p_mw != 0) | (net.shunt.q_mvar != 0))]
    for bus in own.bus:
        if node.get(int(bus)) in fed:
            mend = "enter it as a load, or take it out of service"
            raise InputError("--from", source, f"holds a shunt at bus {int(bus) + 1}", mend)


def _fused(net: Any) -> dict[int, int]:
    """Bus -> the lowest bus that closed bus-bus switches join it with."""
    node = {int(b): int(b) for b in net.bus.index[net.bus.in_service.astype(bool)]}

    def find(b: int) -> int:
        while node[b] != b:
            b = node[b]
        return b

    joined = net.switch[(net.switch.et == "b") & net.switch.closed.astype(bool)]
    for a, b in zip(joined.bus, joined.element, strict=True):
        if int(a) in node and int(b) in node:
            low, high = sorted((find(int(a)), find(int(b))))
            node[high] = low
    return {b: find(b) for b in node}


def _closed_lines(net: Any, opened: Iterable[int], source: str) -> pd.DataFrame:
    """Lines in service with no open switch, but for those ``opened``, which are numbered from one."""
    cut = set(net.switch.element[(net.switch.et == "l") & ~net.switch.closed.astype(bool)])
    unknown = [k for k in opened if k - 1 not in net.line.index]
    if unknown:
        raise InputError("--open", str(unknown[0]), f"is no line of {source}", "lines count from 1")
    cut |= {k - 1 for k in opened}
    alive = net.bus.in_service.astype(bool)
    use = net.line.in_service.astype(bool) & ~net.line.index.isin(list(cut))
    use &= net.line.from_bus.map(alive) & net.line.to_bus.map(alive)
    return net.line[use]


def _stubs(net: Any, node: dict[int, int], opened: Iterable[int]) -> list[tuple[int, int, int]]:
    """Lines that a switch opens at one end alone, each to a bus of its own, numbered behind the network's: under
    voltage to their open end, they draw their charging."""
    found: list[tuple[int, int, int]] = []
    apart = net.switch[(net.switch.et == "l") & ~net.switch.closed.astype(bool)]
    for k, row in net.line[net.line.in_service.astype(bool)].iterrows():
        ends = (int(row.from_bus), int(row.to_bus))
        off = set(apart.bus[apart.element == k].astype(int))
        if k + 1 not in set(opened) and len(off) == 1 and row.c_nf_per_km > 0 and all(b in node for b in ends):
            (near,) = set(ends) - off
            found.append((int(k) + 1, node[near], int(net.bus.index.max()) + 1 + len(found)))
    return found


def _busbar(net: Any, node: dict[int, int], edges: list[tuple[int, int, int]], root: int | None, source: str) -> int:
    """The node from which the feeder is fed: where an external grid or a transformer meets lines."""
    if root is not None:
        if root - 1 not in node:
            raise InputError("--root", str(root), f"is no bus of {source}", "buses count from 1")
        return node[root - 1]
    with_lines = {b for _, a, b in edges} | {a for _, a, b in edges}
    off = set(net.switch.element[(net.switch.et == "t") & ~net.switch.closed.astype(bool)])
    trafo = net.trafo[net.trafo.in_service.astype(bool) & ~net.trafo.index.isin(list(off))]
    fed = {node[int(b)] for b in trafo.lv_bus if int(b) in node}
    grid = {node[int(b)] for b in net.ext_grid.bus[net.ext_grid.in_service.astype(bool)] if int(b) in node}
    found = sorted((fed | grid) & with_lines)
    if not found:
        raise InputError("--from", source, "has no slack: no external grid or transformer feeds a line", "add one")
    if len(found) > 1:
        names = ", ".join(str(b + 1) for b in found)
        raise InputError("--from", source, f"has several substations, at buses {names}", "choose one: --root BUS")
    return found[0]


def _bus_table(net: Any, node: dict[int, int], fed: set[int], busbar: int) -> pd.DataFrame:
    """Bus file, slack first; loads of fused buses add up, shunts and charging are not loads."""
    load = net.load[net.load.in_service.astype(bool)]
    scaled = load.assign(node=load.bus.map(node), p=1e3 * load.p_mw * load.scaling, q=1e3 * load.q_mvar * load.scaling)
    total = scaled.groupby("node")[["p", "q"]].sum()
    order = [busbar, *sorted(fed - {busbar})]
    slack = np.array([b == busbar for b in order])
    source = net.ext_grid[net.ext_grid.in_service.astype(bool) & (net.ext_grid.bus.map(node) == busbar)]
    held = float(source.vm_pu.iloc[0]) if len(source) else 1.0  # the busbar's own, where it has one

    def limit(column: str, default: float) -> np.ndarray:
        own = net.bus[column].reindex(order) if column in net.bus else pd.Series(np.nan, index=order)
        return own.fillna(default).to_numpy(float)

    return pd.DataFrame(
        {
            "bus": np.array(order) + 1,
            "type": np.where(slack, "slack", "pq"),
            "p_kw": total.p.reindex(order).fillna(0.0).to_numpy(),
            "q_kvar": total.q.reindex(order).fillna(0.0).to_numpy(),
            "vn_kv": float(net.bus.vn_kv[busbar]),
            "vmin_pu": np.where(slack, held, limit("min_vm_pu", 0.95)),
            "vmax_pu": np.where(slack, held, limit("max_vm_pu", 1.05)),
        }
    )


def _branch_table(lines: pd.DataFrame, ends: dict[int, tuple[int, int]], f_hz: float, source: str) -> pd.DataFrame:
    """Branch file of the lines whose ends are given; parallel lines are one."""
    own = lines.loc[[k - 1 for k in ends]]
    length, parallel = own.length_km.to_numpy(float), own.parallel.to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):  # refused below
        r, x = (own[c].to_numpy(float) * length / parallel for c in ("r_ohm_per_km", "x_ohm_per_km"))
    require_impedance(source, list(ends), r, x, "mend r_ohm_per_km, x_ohm_per_km, length_km or parallel")
    limit = own.max_i_ka.to_numpy(float) * own.df.to_numpy(float) * parallel
    return pd.DataFrame(
        {
            "line": list(ends),
            "from_bus": [a + 1 for a, _ in ends.values()],
            "to_bus": [b + 1 for _, b in ends.values()],
            "r_ohm": r,
            "x_ohm": x,
            "c_nf": own.c_nf_per_km.to_numpy(float) * length * parallel * f_hz / 50,
            "closed": 1,
            "rating_a": np.where(limit < 90, 1e3 * limit, np.nan),  # 99,999 kA stands for none
        }
    )


def _at_buses(net: Any, table: str, node: dict[int, int], fed: set[int]) -> pd.DataFrame:
    """Bus, active power in kW and profile of every element of a table in service below the busbar."""
    own = net[table][net[table].in_service.astype(bool)]
    own = own[own.bus.map(node).isin(fed)]
    profile = own["profile"] if "profile" in own else pd.Series(None, index=own.index, dtype=object)
    return pd.DataFrame(
        {
            "bus": own.bus.map(node).to_numpy(int) + 1,
            "p_kw": (1e3 * own.p_mw * own.scaling).to_numpy(float),
            "q_kvar": (1e3 * own.q_mvar * own.scaling).to_numpy(float),
            "profile": profile.to_numpy(),
        }
    )


def _generators(net: Any, node: dict[int, int], fed: set[int]) -> pd.DataFrame:
    """Static generators by kind; a profile or type that begins with PV or WP tells sun and wind apart."""
    own = _at_buses(net, "sgen", node, fed)
    kind = net.sgen[net.sgen.in_service.astype(bool)]
    kind = kind[kind.bus.map(node).isin(fed)].type.astype(str).str.lower()
    word = own.profile.astype(str).str.lower()
    pv = word.str.startswith("pv") | kind.str.startswith("pv").to_numpy()
    wind = word.str.startswith("wp") | kind.str.startswith(("wp", "wind")).to_numpy()
    sort = np.where(pv, "pv", np.where(wind, "wind", "other"))
    return pd.DataFrame({"bus": own.bus, "kw": own.p_kw, "kind": sort, "profile": own.profile})


def _storages(net: Any, node: dict[int, int], fed: set[int]) -> pd.DataFrame:
    """Batteries: capacity, power and one-way efficiency."""
    own = net.storage[net.storage.in_service.astype(bool)]
    own = own[own.bus.map(node).isin(fed)]
    eta = own["efficiency_percent"].astype(float) if "efficiency_percent" in own else pd.Series(0.95, index=own.index)
    eta = np.where(eta > 1, eta / 100, eta)
    return pd.DataFrame(
        {
            "bus": own.bus.map(node).to_numpy(int) + 1,
            "kwh": (1e3 * own.max_e_mwh).to_numpy(float),
            "kw": (1e3 * own.p_mw.abs()).to_numpy(float),
            "eta": eta,
        }
    )


def from_simbench(code: str, source: str, root: int | None = None, opened: Iterable[int] = ()) -> Grid:
    """The feeder of a SimBench grid with its own year of profiles, as hourly means.

    A generator that is neither sun nor wind counts as ``other``; a low-voltage grid behind a bus is one load with the
    profile of its own.
    """
    simbench = package("simbench", source)
    try:
        net = simbench.get_simbench_net(code)
    except (ValueError, KeyError, OSError) as error:
        raise InputError("--from", source, "is no SimBench code", "use a code such as 1-MV-rural--2-sw") from error
    licence = "SimBench: database ODbL 1.0, contents DbCL 1.0 (Meinecke et al. 2020, Energies 13(12), 3290)"
    grid = from_pandapower(net, code, source, licence, root, opened)
    return replace(grid, profiles=_hourly_profiles(net, grid, source))


def _hourly_profiles(net: Any, grid: Grid, source: str) -> dict[str, pd.DataFrame]:
    """Hourly shapes in p.u. of nominal power: ``load`` and ``renewable``, columns by profile name, first ``time``."""
    wanted = {
        "load": [(p, f"{p}_pload") for p in sorted(set(grid.loads.profile))],
        "renewable": [(p, p) for p in sorted(set(grid.generators.profile))],
    }
    tables = {"load": net.profiles["load"], "renewable": net.profiles["renewables"]}
    found = {}
    for role, columns in wanted.items():
        missing = [column for _, column in columns if column not in tables[role]]
        if missing:
            raise InputError("--from", source, f"lacks the profile {missing[0]}", "use a SimBench code with profiles")
        values = tables[role][[column for _, column in columns]].to_numpy(float)
        if len(values) % 4:
            raise InputError("--from", source, f"has profiles of {len(values)} quarter hours", "give a whole year")
        if not np.isfinite(values).all():
            raise InputError("--from", source, "has profiles with gaps", "use a SimBench code with whole profiles")
        hourly = np.maximum(values.reshape(len(values) // 4, 4, len(columns)).mean(axis=1), 0.0)
        frame = pd.DataFrame(hourly, columns=[name for name, _ in columns])
        days = len(frame) // 24
        if days * 24 != len(frame) or days not in (365, 366):
            raise InputError("--from", source, f"has profiles of {len(frame)} hours", "give a whole year")
        frame.insert(0, "time", year_of_hours(2016 if days == 366 else 2015))
        found[role] = frame
    return found


def year_of_hours(year: int) -> pd.Index:
    """Hours of a year on a fixed UTC+1 axis, as study tables write them."""
    hours = pd.date_range(f"{year}-01-01", f"{year + 1}-01-01", freq="h", inclusive="left")
    return hours.strftime("%Y-%m-%dT%H:%M")


def pandapower_grid(name: str, source: str, root: int | None = None, opened: Iterable[int] = ()) -> Grid:
    """A network of ``pandapower.networks`` by name, or one that pandapower has saved as JSON."""
    pandapower = package("pandapower", source)
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise InputError("--from", source, "does not exist", "give the path of a network saved by pandapower")
        try:
            net = pandapower.from_json(name)
        except Exception as error:  # pandapower raises whatever its decoder meets
            raise InputError("--from", source, "is no network saved by pandapower", "save it with to_json") from error
        if not isinstance(net, pandapower.pandapowerNet):
            raise InputError("--from", source, "is no network saved by pandapower", "save it with to_json")
        return from_pandapower(net, Path(name).stem, source, "as its owner states", root, opened)
    networks = package("pandapower.networks", source)
    make = getattr(networks, name, None)
    if make is None or name.startswith("_"):
        near = get_close_matches(name, [word for word in dir(networks) if callable(getattr(networks, word))])
        mend = f"its nearest are {', '.join(near)}" if near else "see its documentation for names"
        mend += f"; a case of MATPOWER is matpower:{name}" if name.startswith("case") else ""
        raise InputError("--from", source, "is no network of pandapower.networks", mend)
    try:
        net = make()
    except TypeError as error:
        raise InputError(
            "--from", source, "needs arguments", "build it, save it with to_json, and give that"
        ) from error
    if not isinstance(net, pandapower.pandapowerNet):
        raise InputError("--from", source, "is no network", "name a function that returns one")
    return from_pandapower(net, name, source, "pandapower network, BSD-3; cite its source", root, opened)


Edges = list[tuple[int, int, int]]  # line, from bus, to bus

# Columns of MATPOWER's case format, version 2 (Zimmerman, Murillo-Sanchez and Thomas 2011).
BUS, TYPE, PD, QD, GS, BS, VM, BASE_KV, VMAX, VMIN = 0, 1, 2, 3, 4, 5, 7, 9, 11, 12
FROM, TO, R, X, B, RATE_A, TAP, STATUS = 0, 1, 2, 3, 4, 5, 8, 10
REFERENCE, ISOLATED = 3, 4
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?Inf|NaN"

# What radial cases do with their matrices after them, as regular expressions over a line without blanks.
OHMS = r"mpc\.branch\(:,\[BR_R,?BR_X\]\)=mpc\.branch\(:,\[BR_R,?BR_X\]\)/\(Vbase\^2/Sbase\);?"
KILOWATTS = r"mpc\.bus\(:,\[PD,?QD\]\)=mpc\.bus\(:,\[PD,?QD\]\)/1e3;?"
FACTOR = r"pf=(0?\.\d+|1);?"
REACTIVE = r"mpc\.bus\(:,QD\)=mpc\.bus\(:,PD\)\*sin\(acos\(pf\)\);?"
ACTIVE = r"mpc\.bus\(:,PD\)=mpc\.bus\(:,PD\)\*pf;?"


def from_matpower(path: Path, name: str, source: str, root: int | None = None, opened: Iterable[int] = ()) -> Grid:
    """The feeder below the reference bus of a MATPOWER case; lines count from 1 in the order of ``mpc.branch``.

    Raises InputError for a file that is no such case, a meshed or split network, transformers with taps, negative
    impedances, or code that the reader does not know.
    """
    text = "\n".join(line.split("%")[0] for line in _text(path).splitlines())
    base = _scalar(text, "baseMVA", source)
    bus, branch = _matrix(text, "bus", 13, source), _matrix(text, "branch", 11, source)
    bus, branch = _converted(text, bus, branch, base, source)
    grid = _grid(_at_set_point(bus, text), branch, base, name, source, root, set(opened))
    own = grid.bus["bus"].tolist()
    return replace(grid, notes=_case_notes(text, set(own), own[0]))


def case_path(name: str) -> Path:
    """The file of one of MATPOWER's own cases, as the package ``matpower`` carries them."""
    folder = Path(package("matpower", f"matpower:{name}").__file__).parent / "data"
    path = folder / f"{name}.m"
    if not path.is_file():
        names = sorted(p.stem for p in folder.glob("case*.m"))
        near = ", ".join(([own for own in names if own.startswith(name[:6])] or names)[:6])
        raise InputError("--from", f"matpower:{name}", "is no case of MATPOWER", f"use one of its names, as {near}")
    return path


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError("--from", str(path), "does not exist", "give the path of a MATPOWER .m file")
    if path.stat().st_size > 50_000_000:
        raise InputError("--from", str(path), "is larger than 50 MB", "give a feeder, not a country")
    return path.read_text(encoding="utf-8", errors="replace").replace("...\n", " ")


def _scalar(text: str, key: str, source: str) -> float:
    found = re.search(rf"mpc\.{key}\s*=\s*({NUMBER})\s*(?:/\s*({NUMBER}))?\s*;", text)
    if not found:
        raise InputError("--from", source, f"holds no mpc.{key}", "give a MATPOWER case of format version 2")
    return float(found.group(1)) / float(found.group(2) or 1)


def _matrix(text: str, key: str, columns: int, source: str) -> np.ndarray:
    found = re.search(rf"mpc\.{key}\s*=\s*\[(.*?)\]\s*;", text, re.S)
    if not found:
        raise InputError("--from", source, f"holds no mpc.{key}", "give a MATPOWER case of format version 2")
    rows = [r.split() for r in re.split(r"[;\n]", found.group(1).replace(",", " ")) if r.strip()]
    wide = [k for k, r in enumerate(rows) if len(r) < columns or len(r) != len(rows[0])]
    odd = [x for r in rows for x in r if not re.fullmatch(NUMBER, x)]
    if not rows or wide or odd:
        what = f"holds {odd[0]!r}" if odd else f"row {wide[0] + 1} is too short" if wide else "has no rows"
        raise InputError("--from", source, f"mpc.{key} {what}", f"give at least {columns} numbers a row")
    return np.array(rows, dtype=float)


def _converted(
    text: str, bus: np.ndarray, branch: np.ndarray, base: float, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Apply the conversions written behind the matrices; refuse any other change of them."""
    bus, branch, factor = bus.copy(), branch.copy(), 1.0
    code = re.sub(r"mpc\.\w+\s*=\s*\[.*?\]\s*;", "", text, flags=re.S)
    for line in code.splitlines():
        short = re.sub(r"\s+(?![A-Z]{2})", "", line).replace(" ", ",").replace(",,", ",")
        if re.fullmatch(OHMS, short):
            branch[:, [R, X]] /= bus[0, BASE_KV] ** 2 / base
        elif re.fullmatch(KILOWATTS, short):
            bus[:, [PD, QD]] /= 1e3
        elif found := re.fullmatch(FACTOR, short):
            factor = float(found.group(1))
        elif re.fullmatch(REACTIVE, short):
            bus[:, QD] = bus[:, PD] * np.sin(np.arccos(factor))
        elif re.fullmatch(ACTIVE, short):
            bus[:, PD] *= factor
        elif re.search(r"mpc\.(bus|branch)(\(.*?\))?=(?!=)", short):  # behind another statement of its line too
            raise InputError(
                "--from", source, f"changes its matrices by {line.strip()!r}", "write the matrices in MW and p.u."
            )
    return bus, branch


def _grid(
    bus: np.ndarray, branch: np.ndarray, base: float, name: str, source: str, root: int | None, opened: set[int]
) -> Grid:
    unknown = [k for k in opened if not 1 <= k <= len(branch)]
    if unknown:
        raise InputError("--open", str(unknown[0]), f"is no line of {source}", "lines count from 1")
    on = (branch[:, STATUS] > 0) & ~np.isin(np.arange(1, len(branch) + 1), list(opened))
    slack = bus[bus[:, TYPE] == REFERENCE, BUS] if root is None else bus[bus[:, BUS] == root, BUS]
    if slack.size != 1:
        what = "has no slack bus" if root is None and not slack.size else f"names {slack.size} buses to start from"
        raise InputError("--from", source, what, "give one bus of type 3, or --root BUS")
    edges = [(int(k) + 1, int(branch[k, FROM]), int(branch[k, TO])) for k in np.flatnonzero(on)]
    fed = spanning_tree(source, edges, int(slack[0]))
    left = [int(b[BUS]) for b in bus if int(b[BUS]) not in fed and b[TYPE] != ISOLATED]
    if left and root is None:
        raise InputError("--from", source, f"leaves bus {left[0]} without supply", "close a line to it")
    require_one_level(bus, fed, source)
    edges = [edge for edge in edges if fed.issuperset(edge[1:])]
    if not edges:
        raise InputError("--from", source, f"has no line that is fed from bus {int(slack[0])}", "name another --root")
    return Grid(
        name=name,
        source=source,
        licence="MATPOWER case data; cite the source named in the case file",
        bus=_case_buses(bus, fed, int(slack[0])),
        branch=_case_branches(bus, branch, edges, base, source),
    )


def _generators_of(text: str) -> list[list[float]]:
    """Rows of mpc.gen in service: bus, Pg, Qg, Qmax, Qmin, Vg, and more."""
    found = re.search(r"mpc\.gen\s*=\s*\[(.*?)\]\s*;", text, re.S)
    rows = [r.split() for r in re.split(r"[;\n]", found.group(1).replace(",", " ")) if r.strip()] if found else []
    rows = [r for r in rows if len(r) > 7 and all(re.fullmatch(NUMBER, x) for x in r)]
    return [[float(x) for x in r] for r in rows if float(r[7]) > 0]


def _at_set_point(bus: np.ndarray, text: str) -> np.ndarray:
    """The buses with the voltage that the generator of each holds, which in mpc.bus is a start value."""
    bus = bus.copy()
    for row in _generators_of(text):
        bus[bus[:, BUS] == row[0], VM] = row[5]
    return bus


def _case_notes(text: str, fed: set[int], slack: int) -> tuple[str, ...]:
    """Generators of a case that stand elsewhere than at its substation: they are not read."""
    own = [r for r in _generators_of(text) if int(r[0]) in fed - {slack}]
    if not own:
        return ()
    power = 1e3 * sum(r[1] for r in own)
    return (f"left out: {len(own)} generators of {power:,.4g} kW of mpc.gen; rules place sun, wind and batteries",)


def require_one_level(bus: np.ndarray, fed: set[int], source: str) -> None:
    """Raise InputError for a bus of another voltage than the first, or with a shunt, which would be lost."""
    own = bus[[int(b) in fed for b in bus[:, BUS]]]
    other, shunt = own[own[:, BASE_KV] != own[0, BASE_KV]], own[(own[:, [GS, BS]] != 0).any(axis=1)]
    if other.size:
        what = f"joins buses of several voltage levels, as bus {int(other[0, BUS])}"
        raise InputError("--from", source, what, "refer all of mpc.bus to one baseKV")
    if shunt.size:
        what = f"holds a shunt at bus {int(shunt[0, BUS])}"
        raise InputError("--from", source, what, "enter Gs and Bs of mpc.bus as a load")


def _case_buses(bus: np.ndarray, fed: set[int], slack: int) -> pd.DataFrame:
    own = bus[[int(b) in fed for b in bus[:, BUS]]]
    own = own[np.argsort(own[:, BUS] != slack, kind="stable")]
    at = own[:, BUS] == slack
    held = float(own[at, VM][0])
    return pd.DataFrame(
        {
            "bus": own[:, BUS].astype(int),
            "type": np.where(at, "slack", "pq"),
            "p_kw": 1e3 * own[:, PD],
            "q_kvar": 1e3 * own[:, QD],
            "vn_kv": own[:, BASE_KV],
            "vmin_pu": np.where(at, held, own[:, VMIN]),
            "vmax_pu": np.where(at, held, own[:, VMAX]),
        }
    )


def _case_branches(bus: np.ndarray, branch: np.ndarray, edges: Edges, base: float, source: str) -> pd.DataFrame:
    rows = branch[[k - 1 for k, _, _ in edges]]
    taps = (rows[:, TAP] != 0) & (rows[:, TAP] != 1)
    if taps.any():
        line = edges[int(np.flatnonzero(taps)[0])][0]
        mend = f"start below it: --root BUS --open {line}"
        raise InputError("--from", source, f"line {line} is a transformer with a tap", mend)
    require_impedance(source, [k for k, _, _ in edges], rows[:, R], rows[:, X], "mend r and x of mpc.branch")
    vn = float(bus[bus[:, BUS] == edges[0][1], BASE_KV][0])  # all fed buses have one
    ohm = vn**2 / base
    rated = rows[:, RATE_A] > 0
    return pd.DataFrame(
        {
            "line": [k for k, _, _ in edges],
            "from_bus": [a for _, a, _ in edges],
            "to_bus": [b for _, _, b in edges],
            "r_ohm": rows[:, R] * ohm,
            "x_ohm": rows[:, X] * ohm,
            "c_nf": 1e9 * rows[:, B] / ohm / OMEGA,
            "closed": 1,
            "rating_a": np.where(rated, 1e3 * rows[:, RATE_A] / (np.sqrt(3) * vn), np.nan),
        }
    )
