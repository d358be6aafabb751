"""Study folders of the two mv_oberrhein feeders, for hosting capacity (`python data/hosting_studies.py`).

Rules over bus numbers, as in the IEEE 33 study: every second loaded bus in the order of the file is a site with a
battery of 1 kWh per kW of PV it would have in that study (cyclic multiples of its nominal load); shapes are cyclic
by bus number.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(__file__).resolve().parent
KINDS = {
    "household": {"H0-A": 0.4, "H0-B": 0.2, "H0-C": 0.2, "H0-G": 0.1, "H0-L": 0.1},
    "commercial": {"G1-A": 0.5, "G3-A": 0.3, "G4-A": 0.2},
    "farm": {"L0-A": 0.5, "L1-A": 0.3, "L2-A": 0.2},
}
CYCLE = ["mix", "household", "commercial", "household", "farm", "mix"]
BATTERY_CYCLE = [2.0, 0.0, 1.0, 2.0, 0.5, 0.5]  # kWh per kW of nominal load
SUBSTATION_KVA = 25000.0

STUDY = """\
# One of the two 20 kV feeders of pandapower's mv_oberrhein, for hosting capacity: `tritier hosting` reads the whole
# year.
# Season, menus and prices are those of the IEEE 33 study; files and the peak are this feeder's own.
name: {name}
title: mv_oberrhein, feeder {number} ({sites} sites)
files:
  bus: ../../feeders/{name}_bus.csv
  branch: ../../feeders/{name}_branch.csv
  load_profiles: ../../simbench/load_profiles.csv
  renewable_profiles: ../../simbench/renewable_profiles.csv
  prices: ../../smard/prices.csv
season: {{months: [3, 4, 5], day_type: weekday}}
load: {{peak_kw: {peak:.1f}, scale: 1.0}}
renewables: {{pv_yield_factor: 1.3, pv_shift_h: 1, scale: 1.0}}
usd_per_eur: 1.18
retail_usd_per_kwh: 0.2552
feed_in_usd_per_kwh: 0.1412
network_charge_usd_per_kwh: 0.0833
demand: {{elasticity: -0.10, flexibility: 0.10, blocks: 4}}
risk: {{alpha: 0.9}}
chance_level: 0.05
demand_charge_usd_per_kw: 0.763
tariff_hours: {{off_peak: 8, day: 10, peak: 6}}
menus:
  fast: {{tariff: {{off_peak: [0.05], day: [0.08], peak: [0.14]}}, p2p: [0.0], capacity: {{}}}}
presets:
  smoke: {{n_prosumers: 4}}
  fast: {{n_prosumers: 14}}
  paper: {{n_prosumers: 43}}
"""


def mix(bus: int) -> dict[str, float]:
    """Energy shares of the shapes a bus mixes."""
    kind = CYCLE[bus % len(CYCLE)]
    if kind != "mix":
        return KINDS[kind]
    shares = {"household": 0.5, "commercial": 0.3, "farm": 0.2}
    return {name: round(shares[kind] * w, 4) for kind, shapes in KINDS.items() for name, w in shapes.items()}


def study(number: int) -> None:
    """Write the folder of one feeder."""
    name = f"oberrhein{number}"
    folder = DATA / "studies" / name
    folder.mkdir(parents=True, exist_ok=True)
    bus = pd.read_csv(DATA / f"feeders/{name}_bus.csv")
    loaded = bus[bus.p_kw > 0]
    rows = [(n, shape, weight) for n in loaded.bus for shape, weight in mix(n).items()]
    pd.DataFrame(rows, columns=["bus", "profile", "weight"]).to_csv(folder / "load_mix.csv", index=False)
    sites = loaded.iloc[::2]
    battery = [BATTERY_CYCLE[k % len(BATTERY_CYCLE)] * p for k, p in enumerate(sites.p_kw)]
    frame = pd.DataFrame(
        {
            "prosumer": [f"bus{n}" for n in sites.bus],
            "bus": sites.bus,
            "pv_kw": battery,
            "pv_profile": [f"PV{k % 8 + 1}" for k in range(len(sites))],
            "wind_kw": 0.0,
            "wind_profile": "WP3",
            "battery_kwh": battery,
            "battery_kw": np.array(battery) / 2,
            "eta": 0.95,
            "degradation_usd_per_kwh": 0.0437,
            "beta": 0.5,
        }
    )
    frame.to_csv(folder / "prosumers.csv", index=False, lineterminator="\n")
    text = STUDY.format(name=name, number=number, sites=len(sites), peak=bus.p_kw.sum())
    (folder / "study.yaml").write_text(text)
    origin = "# rating of the 110/20 kV transformer the feeder hangs on (pandapower)"
    rating = f"{origin}\nsubstation_kva: {SUBSTATION_KVA:g}\n"
    (folder / "hosting.yaml").write_text(rating)


if __name__ == "__main__":
    for k in (1, 2):
        study(k)
