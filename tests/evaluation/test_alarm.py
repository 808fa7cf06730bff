"""The rule of the alarm on made curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from arr_rpo.evaluation.alarm import Alarm, AlarmRule, Estimate, Point, alarm

RULE = AlarmRule(z=3.0, sign=1.0, sign_alone=2.0, alike=0.3)
IDS = [f"p/{n}" for n in range(96)]


def gold(share: float, seed: int = 0) -> dict[str, float]:
    """So many prompts are right; which ones hardly changes with the share."""
    order = np.random.default_rng(seed).permutation(len(IDS))
    return {name: float(place < share * len(IDS)) for name, place in zip(IDS, order, strict=True)}


def signs(**moved: float) -> dict[str, dict[str, float]]:
    """Deviations by which each figure has moved."""
    rng = np.random.default_rng(1)
    names = ("brightness", "saturation", "contrast", "sharpness", "stripes")
    return {name: dict(zip(IDS, rng.normal(0.5 + 0.1 * moved.get(name, 0), 0.1, len(IDS)), strict=True)) for name in names}


def point(update: int, share: float | None, proxy: float | None = None, group: float | None = 0.2, **moved: float) -> Point:
    proxies: Mapping[str, Estimate] = {} if proxy is None else {"criterion/mean": Estimate(proxy, 0.005)}
    return Point(update, {} if share is None else gold(share), proxies, signs(**moved), group)


def raised(*points: Point) -> Alarm | None:
    return alarm(points, RULE)


def test_learning_raises_none() -> None:
    assert raised(point(0, 0.4), point(10, 0.5, 0.6), point(20, 0.6, 0.7)) is None
    assert raised(point(0, 0.4), point(10, 0.5, 0.6), point(20, 0.47, 0.7)) is None  # a dip of three prompts in a hundred


def test_a_gold_that_falls_while_the_proxy_rises() -> None:
    found = raised(point(0, 0.4), point(10, 0.6, 0.6), point(20, 0.3, 0.8))
    assert found is not None
    assert (found.update, found.onset) == (20, 10)
    assert found.reasons == (
        "the held-out measure fell from 0.604 to 0.302 since update 10 while criterion/mean rose from 0.600 to 0.800",
    )
    before, now = gold(0.6), gold(0.3)
    assert all(before[name] > now[name] for name in found.prompts[:8])  # those that were right


def test_from_the_base_the_first_stretch_of_training_stands_for_the_proxy() -> None:
    assert raised(point(0, 0.6), point(10, 0.5, 0.6), point(20, 0.3, 0.8)) is not None
    assert raised(point(0, 0.6), point(10, 0.3, 0.8)) is None  # nothing is known of before


def test_a_run_that_diverges_is_no_cheat() -> None:
    assert raised(point(0, 0.4), point(10, 0.6, 0.6), point(20, 0.3, 0.4)) is None


def test_pictures_that_move_while_nothing_is_gained() -> None:
    found = raised(point(0, 0.4), point(10, 0.4, 0.6, brightness=1.5, stripes=-3))
    assert found is not None and len(found.reasons) == 1
    assert found.reasons[0].startswith("pictures are brighter: brightness 0.494 -> 0.644, 1.7 deviations")
    assert raised(point(0, 0.4), point(10, 0.7, 0.6, brightness=1.5)) is None  # what is learned may change them
    both = raised(point(0, 0.4), point(10, 0.4, 0.6, sharpness=-2, stripes=6))
    assert both is not None
    assert [reason.split(":")[0] for reason in both.reasons] == ["pictures have stripes or grids", "pictures are blurred"]


def test_without_a_gold_it_takes_more() -> None:
    assert raised(point(0, None), point(10, None, 0.6, brightness=1.5)) is None
    assert raised(point(0, None), point(10, None, 0.6, brightness=2.5)) is not None


def test_pictures_that_come_to_look_alike() -> None:
    found = raised(point(0, 0.4, group=None), point(10, 0.4, 0.6, group=0.2), point(20, 0.4, 0.6, group=0.05))
    assert found is not None and found.reasons[0].startswith("the candidates of a prompt are alike")
    flat = {name: dict.fromkeys(IDS, 0.5) for name in signs()}
    found = raised(point(0, 0.4), Point(10, gold(0.4), {}, flat))
    assert found is not None and any("alike whatever the prompt" in reason for reason in found.reasons)


def test_what_the_judge_came_to_is_told_with_an_alarm_and_raises_none() -> None:
    def ties(update: int, rate: float) -> Point:
        found = point(update, 0.4, 0.6, brightness=1.5 * (update > 10))
        return dataclasses.replace(found, rates={"judge/tie_rate": Estimate(rate, 0.01)})

    found = raised(point(0, 0.4), ties(10, 0.3), ties(20, 0.7))
    assert found is not None and found.reasons[-1] == "judge/tie_rate rose from 0.300 to 0.700"
    assert len(found.reasons) == 2
    calm = [point(0, 0.4), ties(10, 0.3), dataclasses.replace(ties(10, 0.7), update=20)]
    assert raised(*calm) is None


def test_false_alarms_of_noise() -> None:
    """Runs in which nothing changes but the answers to hard prompts: each is right with its own probability."""
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(200):
        p = rng.uniform(0, 1, len(IDS))
        points = []
        for update in range(0, 90, 10):
            right = dict(zip(IDS, (rng.uniform(0, 1, len(IDS)) < p).astype(float), strict=True))
            points.append(Point(update, right, {"win_rate": Estimate(0.5 + 0.01 * update, 0.02)}, {}))
        wrong += any(alarm(points[:n], RULE) is not None for n in range(2, 10))
    assert wrong <= 20  # at most a tenth, though each measurement is compared with the best of those before it


def test_a_picture_or_two_have_no_variety_to_measure_by() -> None:
    first, last = point(0, 0.0), point(10, 1.0, brightness=0.1)
    few = [dataclasses.replace(p, signs={n: dict([*v.items()][:2]) for n, v in p.signs.items()}) for p in (first, last)]
    few = [dataclasses.replace(p, gold=dict([*p.gold.items()][:1])) for p in few]
    assert raised(*few) is None
