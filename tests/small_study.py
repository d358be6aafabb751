"""A study folder small enough to break on purpose: four buses, two prosumers, three months."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

BUS = """\
bus,type,p_kw,q_kvar,vn_kv,vmin_pu,vmax_pu
1,slack,0,0,10,1.0,1.0
2,pq,100,30,10,0.95,1.05
3,pq,80,20,10,0.95,1.05
4,pq,0,-10,10,0.95,1.05
"""
BRANCH = """\
line,from_bus,to_bus,r_ohm,x_ohm,closed,rating_a
1,1,2,0.1,0.05,1,20
2,2,3,0.2,0.1,1,
3,2,4,0.2,0.1,1,10
4,3,4,0.2,0.1,0,10
"""
PROSUMERS = """\
prosumer,bus,pv_kw,pv_profile,wind_kw,wind_profile,battery_kwh,battery_kw,eta,degradation_usd_per_kwh,beta
north,2,50,sun,10,breeze,40,20,0.95,0.04,0.3
south,3,60,sun,0,breeze,0,0,0.9,0.05,0.7
"""
LOAD_MIX = """\
bus,profile,weight
2,home,0.75
2,shop,0.25
3,shop,1
"""
SETTINGS = {
    "name": "small",
    "season": {"months": "spring", "day_type": "weekday", "exclude_dates": ["2016-03-28", "2018-04-02"]},
    "load": {"peak_kw": 150.0},
    "renewables": {"pv_yield_factor": 1.3, "pv_shift_h": 1},
    "usd_per_eur": 1.18,
    "retail_usd_per_kwh": 0.25,
    "feed_in_usd_per_kwh": 0.14,
    "network_charge_usd_per_kwh": 0.08,
    "demand": {"elasticity": -0.1, "flexibility": 0.1, "blocks": 4},
    "risk": {"alpha": 0.9},
    "chance_level": 0.05,
    "demand_charge_usd_per_kw": 0.76,
    "tariff_hours": {"off_peak": 8, "day": 10, "peak": 6},
    "menus": {
        "smoke": {
            "tariff": {"off_peak": [0.05], "day": [0.05, 0.1], "peak": [0.1, 0.2]},
            "p2p": [0.0, 0.04],
            "capacity": {1: [100.0, 400.0]},
        }
    },
    "presets": {"smoke": {"n_prosumers": 2, "n_scenarios": 5}},
}


def hours(year: int) -> np.ndarray:
    """Every hour of March to May."""
    return np.arange(f"{year}-03-01T00", f"{year}-06-01T00", dtype="datetime64[h]").astype("datetime64[m]")


def profile(year: int, columns: dict[str, np.ndarray]) -> str:
    """An hourly table as CSV text."""
    rows = zip(hours(year).astype(str), *(np.round(v, 5).astype(str) for v in columns.values()), strict=True)
    return "\n".join([",".join(["time", *columns]), *(",".join(row) for row in rows)]) + "\n"


def write_study(folder: Path) -> Path:
    """Write the study and return its folder."""
    rng = np.random.default_rng(1)
    t = np.arange(hours(2016).size)
    sun = np.clip(np.sin(2 * np.pi * (t % 24 - 6) / 24), 0, None) * np.repeat(rng.uniform(0.2, 0.6, t.size // 24), 24)
    home = 0.3 + 0.2 * np.sin(2 * np.pi * (t % 24 - 14) / 24) + rng.uniform(0, 0.1, t.size)
    shop = 0.2 + 0.3 * ((t % 24 >= 8) & (t % 24 < 18)) + rng.uniform(0, 0.1, t.size)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "bus.csv": BUS,
        "branch.csv": BRANCH,
        "prosumers.csv": PROSUMERS,
        "load_mix.csv": LOAD_MIX,
        "load_profiles.csv": profile(2016, {"home": home, "shop": shop}),
        "renewable_profiles.csv": profile(2016, {"sun": sun, "breeze": rng.uniform(0, 1, t.size)}),
        "prices.csv": profile(2018, {"price_eur_per_mwh": 40 + 30 * rng.standard_normal(t.size)}),
        "study.yaml": yaml.safe_dump(SETTINGS, sort_keys=False),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def replace_text(path: Path, old: str, new: str) -> None:
    """Replace the first occurrence; the file must hold it."""
    text = path.read_text()
    assert old in text, f"{path.name} does not hold {old!r}"
    path.write_text(text.replace(old, new, 1))


def change_settings(folder: Path, key: str, value: object) -> None:
    """Set a dotted key of study.yaml."""
    path = folder / "study.yaml"
    content = yaml.safe_load(path.read_text())
    section = content
    *parts, last = key.split(".")
    for part in parts:
        section = section[int(part) if part.isdigit() else part]
    section[last] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))
