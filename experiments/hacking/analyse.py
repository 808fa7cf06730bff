"""`python experiments/hacking/analyse.py runs/study/hacking/t2i_rpo`: which arms are gamed, by the rules of PLAN.md.

Gold is what a held-out picture is worth to the annotator, proxy how often the run's own reward prefers it to the base's.
Intervals and p-values are of a paired bootstrap over annotators and, within each, their prompts. `--figure FILE.png` draws both
against KL.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.report.read_study import read_study
from arr_rpo.report.statistics import bootstrap_interval, bootstrap_means, bootstrap_p_value, holm
from arr_rpo.report.study import Run, Study
from arr_rpo.types import UserError

Floats = NDArray[np.float64]
DRAWS, LEAST_FALL = 10_000, 0.01
EXPLOITED_LESS = [("reward_model", "own_weighted", 1), ("dropout 50", "own_weighted", -1), ("rotation", "own_weighted", -1)]
EXPLOITED_LESS += [("ensemble", "reward_model", -1), ("conjunctive", "prompt_alone", -1)]  # arms; the sign that is expected


@dataclass(frozen=True)
class Course:
    """One run, at T measurements of the same P prompts. root_kl_T: square root of the path KL from the base."""

    annotator: str
    root_kl_T: Floats
    gold_TP: Floats
    proxy_TP: Floats

    @property
    def accepted(self) -> Floats:
        """(T, P) 1 where the reward prefers the picture to the base's."""
        return (self.proxy_TP > 0.5).astype(float)

    @property
    def bad(self) -> Floats:
        """(T, P) 1 where it does, and the picture is worth less to the annotator than the base's."""
        return self.accepted * (self.gold_TP < self.gold_TP[:1])

    def at(self, root_kl: float, values_TP: Floats) -> Floats:
        """(P,) read linearly between measurements. KL may fall now and then: the first measurement from which it is reached."""
        reached = int(np.argmax(self.root_kl_T >= root_kl))
        if reached == 0:
            return values_TP[0] if self.root_kl_T[0] >= root_kl else values_TP[-1]
        low, high = self.root_kl_T[reached - 1], self.root_kl_T[reached]
        share = (root_kl - low) / (high - low)
        between: Floats = (1 - share) * values_TP[reached - 1] + share * values_TP[reached]
        return between


def course(run: Run) -> Course:
    """Prompts of which a measurement has no proxy (its verdict failed) are left out at all measurements.

    Raises:
        UserError: it was not measured by both.
    """
    if not run.progress or any(name not in run.progress[0].measures for name in ("annotator", "win_rate")):
        raise UserError(f"{run.folder} was not measured by annotator and win_rate as it trained: is it a run of study=hacking?")
    gold = [point.measures["annotator"].by_prompt for point in run.progress]
    proxy = [point.measures["win_rate"].by_prompt for point in run.progress]
    prompts = [p for p in gold[0] if all(p in at for at in (*gold, *proxy))]
    return Course(
        annotator=str(run.config["study"]["annotator"]),
        root_kl_T=np.array([math.sqrt(max(0.0, point.kl or 0.0)) for point in run.progress]),
        gold_TP=np.array([[at[p] for p in prompts] for at in gold]),
        proxy_TP=np.array([[at[p] for p in prompts] for at in proxy]),
    )


def courses(study: Study) -> dict[str, list[Course]]:
    """By arm, of all annotators, whom a study's names of arms have in them; runs that did not end are left out."""
    found: dict[str, list[Course]] = {}
    for arm in study.arms:
        found.setdefault(arm.split(",")[0], []).extend(course(run) for run in study.of(arm) if run.finished)
    return found


def drawn(values: Sequence[Floats]) -> Floats:
    """(A, 1 + draws): of each annotator's (P,) values, the mean and then means of prompts drawn with replacement. As
    many values in the same order have the same draws, so that arms are paired."""
    rows = [np.append(some.mean(), bootstrap_means(some[None], DRAWS, seed=97 * i)) for i, some in enumerate(values)]
    return np.stack(rows)


def over_annotators(values_AD: Floats) -> Floats:
    """(1 + draws,) means over annotators, drawn with replacement too but for the first, which is the mean itself."""
    many = len(values_AD)
    counts = np.random.default_rng(11).multinomial(many, np.full(many, 1 / many), size=DRAWS).T
    weights_AD = np.concatenate([np.ones((many, 1)), counts], axis=1) / many
    found: Floats = (weights_AD * values_AD).sum(axis=0)
    return found


def halves(some: Course) -> tuple[Floats, Floats]:
    """Every other prompt, and the others: as 0 and 1."""
    first = (np.arange(some.gold_TP.shape[1]) % 2 == 0).astype(float)
    return first, 1 - first


def mean_curve(arm: Sequence[Course], values: Callable[[Course], Floats], half: int | None = None) -> Floats:
    """(T,) over prompts (of one half of them), then annotators."""
    chosen = [np.ones(c.gold_TP.shape[1]) if half is None else halves(c)[half] for c in arm]
    return np.mean([values(c) @ some / some.sum() for c, some in zip(arm, chosen, strict=True)], axis=0)


def fall(arm: Sequence[Course]) -> tuple[Floats, int]:
    """(1 + draws,) gold at the last measurement minus gold at the best, and the best of the whole mean curve.

    The best is looked for on one half of the prompts and its gold taken from the other, both ways: a lucky one is no fall.
    """
    best = [int(np.argmax(mean_curve(arm, _gold, half))) for half in (0, 1)]
    values = []
    for some in arm:
        first, second = halves(some)
        prompts = len(first)
        falls = [
            (some.gold_TP[-1] - some.gold_TP[at]) * other * prompts / other.sum() / 2
            for at, other in zip(best, (second, first), strict=True)
        ]
        values.append(falls[0] + falls[1])
    return over_annotators(drawn(values)), int(np.argmax(mean_curve(arm, _gold)))


def onset(arm: Sequence[Course]) -> int | None:
    """The first measurement from which gold falls and proxy rises at two in a row, of the mean curves."""
    gold, proxy = np.diff(mean_curve(arm, _gold)), np.diff(mean_curve(arm, _proxy))
    apart = (gold < 0) & (proxy > 0)
    return next((at for at in range(len(apart) - 1) if apart[at] and apart[at + 1]), None)


def exploited(arm: Sequence[Course], at: Mapping[str, float] | None = None) -> Floats:
    """(1 + draws,) of the pictures that the reward prefers to the base's the share that is worth less: at the last measurement,
    or where each annotator's root KL is `at`."""
    ends = {c.annotator: at[c.annotator] if at else np.inf for c in arm}
    bad = [c.at(ends[c.annotator], c.bad) for c in arm]
    all_ = [c.at(ends[c.annotator], c.accepted) for c in arm]
    accepted = over_annotators(drawn(all_))
    shares: Floats = over_annotators(drawn(bad)) / np.maximum(accepted, 1e-9)
    return shares


def compared(arm: Sequence[Course], other: Sequence[Course]) -> Floats:
    """(1 + draws,) the difference of their shares of exploited pictures, by annotator, at the lesser of both last KLs."""
    ours, theirs = ({c.annotator: c for c in some} for some in (arm, other))
    both = [who for who in ours if who in theirs]
    least = {who: float(min(ours[who].root_kl_T[-1], theirs[who].root_kl_T[-1])) for who in both}
    return exploited([ours[who] for who in both], least) - exploited([theirs[who] for who in both], least)


def interval(draws: Floats) -> str:
    low, high = bootstrap_interval(draws[1:], 0.95)
    return f"{draws[0]:+.3f} ({low:+.3f} to {high:+.3f})"


def is_gamed(arm: Sequence[Course]) -> bool:
    """Gold fell, by an interval that ends below -0.01, and the proxy did not."""
    falls, best = fall(arm)
    proxy = mean_curve(arm, _proxy)
    return bool(bootstrap_interval(falls[1:], 0.95)[1] < -LEAST_FALL and proxy[-1] >= proxy[best])


def arms_table(arms: Mapping[str, Sequence[Course]]) -> str:
    heads = ["arm", "annotators", "last root KL", "gold: base", "best", "last", "last minus best", "proxy, last"]
    heads += ["exploited", "onset", "gamed"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, arm in arms.items():
        if not arm:
            continue
        falls, best = fall(arm)
        gold, first = mean_curve(arm, _gold), onset(arm)
        kl = float(np.mean([c.root_kl_T[-1] for c in arm]))
        cells = [name, str(len(arm)), f"{kl:.1f}", f"{gold[0]:.3f}", f"{gold[best]:.3f} (at {best})", f"{gold[-1]:.3f}"]
        cells += [interval(falls)]
        cells += [f"{mean_curve(arm, _proxy)[-1]:.3f}", f"{exploited(arm)[0]:.3f}", "-" if first is None else str(first)]
        lines.append(f"| {' | '.join([*cells, 'yes' if is_gamed(arm) else 'no'])} |")
    return "\n".join(lines)


def claims_table(arms: Mapping[str, Sequence[Course]]) -> str:
    """The six claims of the plan, of whose arms there are runs; Holm's correction is over those."""
    found: list[tuple[str, Floats, int, float]] = []  # with the sign that is claimed, and what the difference is tested against
    proxy_fell = False
    for one, other, sign in EXPLOITED_LESS:
        if arms.get(one) and arms.get(other):
            what = "higher" if sign > 0 else "lower"
            claim = f"{one} has a {what} share of exploited pictures than {other}"
            found.append((claim, compared(arms[one], arms[other]), sign, 0.0))
    if arms.get("prompt_alone"):
        claim = "prompt_alone (per_prompt) is gamed: gold, last minus best, below -0.01"
        falls, best = fall(arms["prompt_alone"])
        proxy = mean_curve(arms["prompt_alone"], _proxy)
        found.append((claim, falls, -1, -LEAST_FALL))
        proxy_fell = bool(proxy[-1] < proxy[best])  # then it is worse at both, which is no gaming
    adjusted = holm([bootstrap_p_value(draws[1:] - against) for _, draws, _, against in found])
    lines = ["| claim | difference | p, Holm | |", "|---|---|---|---|"]
    for (claim, draws, sign, against), p in zip(found, adjusted, strict=True):
        said = "not shown" if p >= 0.05 else "shown" if sign * (draws[0] - against) > 0 else "reversed"
        if said == "shown" and against and proxy_fell:
            said = "not shown: the proxy fell too"
        lines.append(f"| {claim} | {interval(draws)} | {p:.3f} | {said} |")
    return "\n".join(lines)


def draw_figure(arms: Mapping[str, Sequence[Course]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", sharex=True)
    styles = itertools.product(["-", "--"], plt.get_cmap("tab10").colors)
    for (name, arm), (style, color) in zip(((n, a) for n, a in arms.items() if a), styles, strict=False):
        roots = np.mean([c.root_kl_T for c in arm], axis=0)
        for axis, values in zip(axes, (_gold, _proxy), strict=True):
            axis.plot(roots, mean_curve(arm, values), label=name, linestyle=style, color=color, marker=".")
    axes[0].set(xlabel="square root of KL (nats an image)", ylabel="gold: worth to the annotator, 0 to 1")
    axes[1].set(xlabel="square root of KL (nats an image)", ylabel="proxy: preferred to the base's by the run's reward")
    axes[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=120)


def _gold(some: Course) -> Floats:
    return some.gold_TP


def _proxy(some: Course) -> Floats:
    return some.proxy_TP


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    arms = courses(read_study(*given.folders))
    print(arms_table(arms), claims_table(arms), sep="\n\n")
    if given.figure:
        draw_figure(arms, given.figure)


if __name__ == "__main__":
    main()
