"""What the stored search of preset paper on the electrified study leaves open, and its design on unseen days."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tritier.evaluation import heldout
from tritier.inputs.study import read_study

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"
ABOUT = json.loads((RESULTS / "open.json").read_text())
ANSWERS = pd.read_csv(RESULTS / "open.csv")
PRICES = list(ANSWERS.columns[:6])
LIMITS, NEEDS = ANSWERS.filter(regex="^limit_"), ANSWERS.filter(regex="^need_")
LARGEST = (LIMITS == LIMITS.max()).all(axis=1)


def test_every_tariff_of_the_menu_is_answered_at_the_largest_limits():
    menu = read_study(RESULTS.parents[1] / "data" / "studies" / ABOUT["study_name"]).menu("paper")
    tariffs = int(np.prod([len(set(levels)) for levels in menu.prices.values()]))
    limits = int(np.prod([len(set(levels)) for _, levels in menu.capacity]))
    assert ABOUT["tariffs"] == tariffs + 1 and ABOUT["menu_points"] == (tariffs + 1) * limits  # and the flat one
    assert len(ANSWERS.loc[LARGEST, PRICES].drop_duplicates()) >= tariffs
    assert list(LIMITS.max()) == [max(levels) for _, levels in menu.capacity]


def test_what_is_said_of_the_answers_is_in_them():
    assert (NEEDS.to_numpy() <= LIMITS.to_numpy() + 1e-6).all()
    assert (ANSWERS["bound_usd"] <= ANSWERS["social_cost_usd"] + 1e-3).all()
    assert ANSWERS.loc[LARGEST, "bound_usd"].min() == pytest.approx(ABOUT["lower_bound_at_largest_limits"], abs=1e-5)
    gain = ABOUT["flat"] - ABOUT["first_best"]
    assert ABOUT["gap"] == pytest.approx((ABOUT["upper_bound"] - ABOUT["lower_bound"]) / gain)
    assert 0.05 < ABOUT["gap"] < 0.25, "chapter 18 says that it did not close"
    assert ABOUT["left"]["0.01"] > 0.5 * ABOUT["menu_points"]
    assert ANSWERS["social_cost_usd"].min() > ABOUT["upper_bound"] - 0.01 * gain


def test_a_tighter_limit_never_makes_the_follower_better_off():
    loosest = ANSWERS[LARGEST].groupby(PRICES)["follower_usd"].min().rename("loosest_usd").reset_index()
    tighter = ANSWERS[~LARGEST].merge(loosest, on=PRICES)
    assert len(tighter) >= 20, "answers to compare"
    assert (tighter["follower_usd"] >= tighter["loosest_usd"] - 1e-3).all()


def test_its_design_is_judged_on_the_days_of_the_others():
    ours, kept = pd.read_csv(RESULTS / "open_days.csv"), heldout.kept("ieee33-2045", heldout.REAL)[4].daily
    assert sorted(zip(ours["day"], ours["policy"], strict=True)) == sorted(
        zip(kept["day"], kept["policy"], strict=True)
    )
    assert list(ours) == list(kept) and (ours["case"] == 4).all()


def test_what_more_weight_proves_of_tighter_limits_follows_from_the_answers():
    """The largest loss from the bound and the target, and the answers within it, counted here."""
    weighed, gain = pd.read_csv(RESULTS / "weights.csv"), ABOUT["flat"] - ABOUT["first_best"]
    target = ABOUT["upper_bound"] - ABOUT["parameters"]["gap"] * gain
    most = weighed["weight"] * (weighed["bound_usd"] - target)
    assert weighed["largest_loss_usd"].to_numpy() == pytest.approx(most.to_numpy(), rel=1e-5, abs=2e-6)
    assert weighed["weight"].is_monotonic_increasing and (weighed["bound_usd"].diff().dropna() < 0).all()
    own = (ANSWERS[PRICES] == ANSWERS.loc[ANSWERS["social_cost_usd"].idxmin(), PRICES]).all(axis=1)
    losses = ANSWERS.loc[own & ~LARGEST, "follower_usd"] - ANSWERS.loc[own & LARGEST, "follower_usd"].min()
    counts = [(losses <= loss).sum() for loss in weighed["largest_loss_usd"]]
    assert weighed["limits_excluded"].tolist() == counts and (weighed["limits_answered"] == losses.size).all()
    assert 0 < max(counts) < losses.size, "chapter 18 says that one weight settles some limits and not all"
    first = ANSWERS.loc[own & LARGEST, "bound_usd"].max()
    assert weighed["bound_usd"].iloc[0] == pytest.approx(first, abs=0.5)  # the same answer, other tangents
