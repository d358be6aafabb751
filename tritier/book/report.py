"""One self-contained HTML page for a solved case: design, certificates, feeder, prices, trades, days, provenance.

No server and no network: pictures are inside the page, and it prints. The figures are those of the book.
"""

from __future__ import annotations

import html
import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tritier.cases.certificate import PROOFS
from tritier.cases.outcome import means_by_policy
from tritier.cases.result import TODAY, Result, certificate_table, choice_table, design_table, headline_table
from tritier.inputs.scenarios import bare_feeder_load
from tritier.model.acflow import ac_power_flow
from tritier.plots.cases import search_bounds, tariffs_and_load, trades_by_hour
from tritier.plots.network import feeder_map
from tritier.plots.style import close, use_style
from tritier.provenance import write_text
from tritier.studies.check import warnings

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #57606a; --line: #d0d7de; --paper: #ffffff; --bad: #a40e26; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa7b4; --line: #3d444d; --paper: #0d1117;
  --bad: #ff8182; } figure svg { background: #ffffff; border-radius: 4px; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; margin: 0.6rem 0; font-variant-numeric: tabular-nums; display: block;
  overflow-x: auto; }
th, td { text-align: left; padding: 0.2rem 0.9rem 0.2rem 0; border-bottom: 1px solid var(--line); }
td.n { text-align: right; } td.n, td.w { white-space: nowrap; }
caption { text-align: left; color: var(--soft); padding: 0.4rem 0; }
figure { margin: 1rem 0; overflow-x: auto; } figure svg { max-width: 100%; height: auto; }
figcaption, .soft { color: var(--soft); font-size: 0.9rem; } .warning { color: var(--bad); }
@media (max-width: 40rem) { th, td { padding-right: 0.5rem; overflow-wrap: anywhere; } td.w { white-space: normal; } }
summary { cursor: pointer; color: var(--soft); margin: 0.6rem 0; }
pre { overflow-x: auto; padding: 0.7rem; border: 1px solid var(--line); border-radius: 4px; }
"""


SEEN = ("design", "scenarios", "season")  # sets of days that hold some of those that made the design
SHORT = 24  # characters: a cell that is not broken over lines, on a phone either


def write_report(folder: Path, solved: Result, out: Path | None = None) -> Path:
    """Write ``report.html`` beside a stored result, or to ``out``; the path written.

    folder: the result, certified by the caller; solved: what is stored there.
    """
    path = out or folder / "report.html"
    write_text(path, page(folder, solved))
    return path


def page(folder: Path, solved: Result) -> str:
    """The page as text."""
    use_style()
    title = f"{solved.prepared.study.name}: Case {solved.case.number}, {solved.case.title.lower()}"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        *lead(folder, solved),
        *section("Design", *design_tables(solved), picture_of_tariffs(solved)),
        *section("Certificates", *certificate_tables(folder)),
        *section("Feeder", picture_of_feeder(solved)),
        *section("Market", picture_of_trades(solved)),
        *(section("Search", picture_of_search(solved)) if solved.bounds is not None else []),
        *section("Figures on the design scenarios", *summary_tables(folder)),
        *held_out(folder),
        *section("Where this comes from", provenance_table(folder)),
        *section("What to do next", next_steps(folder, solved)),
    ]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    body = "".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n'


def section(title: str, *parts: str) -> list[str]:
    return [f"<h2>{html.escape(title)}</h2>", *parts]


def lead(folder: Path, solved: Result) -> list[str]:
    """The result in a sentence or two, and what to mind."""
    figures = json.loads((folder / "summary.json").read_text())
    text = (
        f"Welfare {figures['welfare_usd']:,.0f} $ a day ({figures['secured_welfare_usd']:,.0f} $ when the network is "
        f"kept secure), prosumer cost {figures['prosumer_cost_usd']:,.0f} $ "
        f"({figures['prosumer_cost_after_refund_usd']:,.0f} $ after refunds), losses {figures['losses_kwh']:,.0f} kWh, "
        f"peak {figures['peak_kw']:,.0f} kW."
    )
    if (proof := solved.bounds) is not None:
        gain = proof.flat - proof.upper_bound
        text += (
            f" The design saves {gain:,.2f} $ a day of social cost against the flat tariff, of "
            f"{proof.flat - proof.first_best:,.2f} $ that any design could; no design of the menu saves more than "
            f"{proof.gap_usd:,.2f} $ beyond it (proof {proof.proof}: {PROOFS[proof.proof]})."
        )
    about = warnings(solved.prepared.study, solved.prepared.preset.name)
    noted = dict.fromkeys([*figures["warnings"], *about])  # each once
    return [f"<p>{text}</p>", *(f'<p class="warning">{html.escape(w)}</p>' for w in noted)]


def table(frame: pd.DataFrame, caption: str = "") -> str:
    """A table; numbers right-aligned with thousands separated. Keys reach it, as it may scroll aside on a phone."""

    def cell(x: object) -> str:
        if isinstance(x, int | float | np.number) and not isinstance(x, bool):
            return f'<td class="n">{number(float(x))}</td>'
        whole = ' class="w"' if len(str(x)) <= SHORT else ""
        return f"<td{whole}>{html.escape(str(x))}</td>"

    head = "".join(f"<th>{html.escape(str(c))}</th>" for c in frame.columns)
    rows = "".join(f"<tr>{''.join(cell(x) for x in row)}</tr>" for row in frame.itertuples(index=False))
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f'<table tabindex="0">{above}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def number(x: float) -> str:
    """Four significant digits or more, thousands separated, tiny ones in powers of ten."""
    if not np.isfinite(x):
        return "–"
    if x and abs(x) < 1e-4:
        return f"{x:.1e}"
    return f"{x:,.0f}" if abs(x) >= 1e4 else f"{x:,.4g}" if abs(x) < 1000 else f"{x:,.1f}"


def picture(fig: Figure, caption: str, alt: str) -> str:
    """A figure as SVG inside the page."""
    text = io.StringIO()
    fig.savefig(text, format="svg")
    close(fig)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"


def design_tables(solved: Result) -> list[str]:
    """What was chosen, and from which menu where the case has one."""
    anchor, fixed = solved.prepared.study.settings.network_charge_usd_per_kwh, float(solved.decisions.fixed.sum())
    chosen = choice_table(solved.clearing.menu, solved.decisions.design, anchor, fixed)
    return [table(chosen if solved.case.optimised else chosen[["decision", "unit", "chosen"]])]


def picture_of_tariffs(solved: Result) -> str:
    design, rules, p = solved.decisions.design, solved.clearing.rules, solved.days.instance.days.probability
    tau = np.asarray(design.tariff)[rules.block]
    flat = np.full(rules.block.size, solved.prepared.study.settings.network_charge_usd_per_kwh)
    head = solved.days.net_load.sum(axis=0) @ p
    bare = bare_feeder_load(solved.days.instance.days)
    fig = tariffs_and_load(rules.block, {TODAY: flat, "design": tau}, {"uncontrolled": bare @ p, "design": head})
    return picture(fig, "Energy charge and mean power at the feeder head by hour.", "Tariffs and head flow by hour")


def certificate_tables(folder: Path) -> list[str]:
    """What is proved of the design, where it has a menu, and every certificate; all as stored, below in full."""
    stored = json.loads((folder / "certificate.json").read_text())
    rows = [(f"{part}.{name}", value) for part, figures in stored.items() for name, value in figures.items()]
    shown = [table(design_table(stored["design"]))] if "design" in stored else []
    whole = table(pd.DataFrame(rows, columns=["certificate", "value"]))
    return [*shown, table(certificate_table(stored)), folded("certificate.json", whole)]


def folded(title: str, inside: str) -> str:
    """A part that opens by a click, and without a script."""
    return f"<details><summary>{html.escape(title)}</summary>{inside}</details>"


def picture_of_feeder(solved: Result) -> str:
    """Lowest AC voltage of every bus on the design scenarios."""
    instance, day = solved.days.instance, solved.days
    v = ac_power_flow(instance.feeder, day.net_load, instance.days.reactive_kvar).v_pu.min(axis=(1, 2))
    fig = feeder_map(instance.feeder, v, "lowest voltage [p.u.]", ringed=instance.prosumer_bus)
    return picture(
        fig, "Lowest AC voltage of every bus on the design scenarios; prosumers ringed.", "Map of the feeder"
    )


def picture_of_trades(solved: Result) -> str:
    decisions, instance = solved.decisions, solved.clearing
    if not solved.case.market:
        return "<p>No P2P market in this case.</p>"
    tau = np.asarray(decisions.design.tariff)[instance.rules.block]
    p = instance.days.probability
    ceiling, floor = instance.retail @ p + tau, instance.feed_in @ p
    buses = np.array([p.bus for p in instance.prosumers])
    bought, price = decisions["zb"] - decisions["zs"], decisions["lambda"]
    if price.ndim == 2:  # by scenario: expected purchases, and the mean price, whose scenarios hold their probability
        bought, price = bought @ p, price.sum(axis=1)
    fig = trades_by_hour(buses, bought, price, ceiling, floor)
    return picture(
        fig, "P2P price, and what each prosumer buys, negative where it sells, by hour.", "P2P price and net purchases"
    )


def picture_of_search(solved: Result) -> str:
    if solved.bounds is None or len(solved.trace) < 2:
        return "<p>The search took one step.</p>"
    fig = search_bounds(solved.trace, solved.bounds.flat, solved.bounds.first_best)
    return picture(fig, "Bounds on the social cost of the best design against LPs solved.", "Bounds by LPs solved")


def summary_tables(folder: Path) -> list[str]:
    """The headline figures, and all of them folded."""
    figures = json.loads((folder / "summary.json").read_text())
    headlines = table(headline_table(figures))
    figures |= {f"social_cost_range_usd.{k}": v for k, v in figures.pop("social_cost_range_usd", {}).items()}
    rows = [(name, value) for name, value in figures.items() if not isinstance(value, list)]
    return [
        headlines,
        folded("summary.json", table(pd.DataFrame(rows, columns=["figure", "value"]))),
    ]


def held_out(folder: Path) -> list[str]:
    """Means over the days that ``tritier evaluate`` has judged: unseen ones, unless it was asked for others."""
    path = folder / "evaluation.csv"
    if not path.is_file():
        return section("Unseen days", "<p>Not judged yet: <code>tritier evaluate</code> does it.</p>")
    daily, asked = pd.read_csv(path), json.loads((folder / "physics.json").read_text())["day_set"]
    note = f"Means over {daily['day'].nunique()} days ({asked}) under each recourse policy, by their probability."
    columns = {
        "welfare_usd": "welfare [$]",
        "secured_welfare_usd": "welfare, secured [$]",
        "prosumer_cost_usd": "prosumer cost [$]",
        "ac_losses_kwh": "AC losses [kWh]",
        "peak_kw": "peak [kW]",
        "ac_violation_share": "bus-hours outside the band",
    }
    means = table(means_by_policy(daily, list(columns)).rename(columns=columns).reset_index(), note)
    return section(f"Days of the set {asked}, which the design has seen" if asked in SEEN else "Unseen days", means)


def provenance_table(folder: Path) -> str:
    origin = json.loads((folder / "provenance.json").read_text())
    rows = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in origin.items()]
    return table(pd.DataFrame(rows, columns=["key", "value"]))


def next_steps(folder: Path, solved: Result) -> str:
    """Commands that this result still lacks, and those that make it anew."""
    place, study = str(folder), os.path.relpath(solved.prepared.study.folder)
    larger = {"smoke": "fast", "fast": "paper"}.get(solved.prepared.preset.name)
    steps = [
        (f"tritier certify {place}", "every certificate again, from what is stored"),
        (f"tritier evaluate {place} --days held-out", "the design on days it has not seen"),
        *(
            [(f"tritier solve {study} --case {solved.case.number} --preset {larger} --out {place}-{larger}", "larger")]
            if larger
            else []
        ),
        *(
            [(f"tritier solve {study} --case 1 --preset {solved.prepared.preset.name} --out {place}-1", "the baseline")]
            if solved.case.number != 1
            else []
        ),
        (f"tritier report {place}", "this page anew"),
    ]
    if not solved.prepared.study.asked:
        steps.append(
            (f"tritier study electrify {study} --out {study}-electric", "its twin with vehicles and heat pumps")
        )
    lines = "\n".join(f"# {why}\n{command}" for command, why in steps)
    return f'<pre tabindex="0">{html.escape(lines)}</pre>'
