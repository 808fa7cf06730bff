"""What is said of arms, against differences worked out by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from arr_rpo.report.analysis import END, EQUAL_CALLS, EQUAL_IMAGES, MATCHED_KL, Comparison, Estimate, Interval
from arr_rpo.report.compare import analyse, compare, corrected, order, pairs_of
from arr_rpo.report.estimates import Comparing, arm_result, held_at
from arr_rpo.report.study import Replicate
from tests.report.doubles import MEASURE, make_run, make_study, point

HOW = Comparing(confidence=0.95, draws=500, seed=1, kl=None)


def seeds(*some: int) -> tuple[Replicate, ...]:
    return tuple(Replicate("", seed) for seed in some)


def made(arm: str, reference: str, value: float, p: float | None) -> Comparison:
    difference = Estimate(value, 5, Interval(value - 0.05, value + 0.2), None)
    return Comparison(arm, reference, END, None, difference, seeds(1, 2, 3, 4, 5), 0, p, None, "no data", "")


def test_arms_are_paired_by_seed_and_prompt() -> None:
    runs = [make_run("a", 1, "1111"), make_run("a", 2, "1110"), make_run("a", 7, "1111")]
    runs += [make_run("b", 1, "1100"), make_run("b", 2, "1101"), make_run("b", 8, "0000")]
    got = compare(make_study(runs), "a", "b", MEASURE, END, HOW)
    # By seed (1 - 0.5) and (0.75 - 0.75): mean 0.25, standard error 0.25, t of one degree of freedom 1: p = 1 - 2 atan(1) / pi.
    assert got.difference is not None and got.difference.t is not None
    assert got.difference.value == pytest.approx(0.25)
    half = 0.25 * math.tan(0.475 * math.pi)
    assert (got.difference.t.low, got.difference.t.high) == pytest.approx((0.25 - half, 0.25 + half))
    assert (got.replicates, got.prompts) == (seeds(1, 2), 4)
    assert got.p is not None and got.p >= 1 - 2 * math.atan(1) / math.pi
    assert got.limits == ("seed 7 of a, seed 8 of b: no partner",)


def test_arms_that_are_repeated_over_annotators_are_paired_within_each_and_tested_over_them() -> None:
    """Prompts of one are not those of another, whatever they are called, and two seeds of one person are not two persons."""
    gained = {("mia", 1): "1111", ("mia", 2): "1110", ("nils", 1): "1100"}  # of four prompts +2, +1 and 0
    runs = [dataclasses.replace(make_run("a", seed, after), of=of) for (of, seed), after in gained.items()]
    runs += [dataclasses.replace(make_run("b", seed, "1100"), of=of) for of, seed in gained]
    study = dataclasses.replace(make_study(runs, reference="b"), replicates="annotator")
    found = analyse(study, MEASURE, HOW)
    (got,) = found.under(END)
    # mia 0.375 in the mean of her seeds, nils 0: mean 0.1875, standard error 0.1875, t of one degree of freedom 1.
    assert got.difference is not None and got.difference.t is not None
    half = 0.1875 * math.tan(0.475 * math.pi)
    assert (got.difference.t.low, got.difference.t.high) == pytest.approx((0.1875 - half, 0.1875 + half))
    assert got.difference.counted == "2 annotators"
    assert (got.replicates, got.prompts, got.limits) == (tuple(Replicate(of, seed) for of, seed in gained), 8, ())
    assert got.verdict.endswith("2 annotators)")
    change = found.arms[0].change
    assert change is not None and change.value == pytest.approx(0.1875) and change.units == 2
    assert found.methods[0].startswith(
        "Arms are compared by a held-out measure, by differences that are paired by annotator and seed"
    )
    assert found.methods[-1] == "With one annotator nothing is claimed. Runs that did not end are in no comparison."


def test_runs_of_each_annotator_are_read_at_the_least_kl_of_their_own() -> None:
    runs = []
    for of, far in (("mia", 4.0), ("nils", 9.0)):
        for arm, kl, after in (("a", far, "1111"), ("b", 2 * far, "1100")):
            runs.append(
                dataclasses.replace(
                    make_run(arm, 1, "1100", progress=[point(0, "0000", kl=0.0), point(10, after, kl=kl)]), of=of
                )
            )
    study = dataclasses.replace(make_study(runs), replicates="annotator")
    got = compare(study, "a", "b", MEASURE, MATCHED_KL, HOW)
    assert got.difference is not None and got.difference.value == pytest.approx(0.75)  # 1 at the end of a, 0.25 halfway of b
    assert (got.at, got.limits) == (None, ())
    runs[1] = dataclasses.replace(runs[1], progress=())
    (at_kl,) = analyse(dataclasses.replace(study, runs=tuple(runs), reference="b"), MEASURE, HOW).under(MATCHED_KL)
    assert at_kl.difference is not None and at_kl.difference.counted == "1 annotator"
    assert at_kl.verdict == "a > b at matched KL: not shown (+0.750, one annotator: no interval)"
    assert "mia, seed 1 of a: no partner" in at_kl.limits


def test_prompts_of_one_name_are_not_paired_across_annotators() -> None:
    """On the way a prompt is known by its id alone, and every annotator has a heldout/0."""
    runs = []
    for of, strict in (("mia", "1111"), ("nils", "0")):
        for arm, gain in (("a", strict), ("b", "0" * len(strict))):
            way = [point(0, "0" * len(strict), kl=0.0), point(10, gain, kl=4.0)]
            runs.append(dataclasses.replace(make_run(arm, 1, "1100", progress=way), of=of))
    study = dataclasses.replace(make_study(runs), replicates="annotator")
    got = compare(study, "a", "b", MEASURE, MATCHED_KL, HOW)
    assert got.difference is not None and got.difference.value == pytest.approx(0.5)  # not (1 + 0) / 2 of a shared prompt's
    assert (got.difference.units, got.prompts) == (2, 5)


def test_runs_without_prompts_are_paired_by_their_means() -> None:
    runs = [
        make_run(arm, seed, after, by_prompt=arm == "a") for arm, after in (("a", "1111"), ("b", "1100")) for seed in (1, 2)
    ]
    got = compare(make_study(runs), "a", "b", MEASURE, END, HOW)
    assert got.difference is not None and got.difference.bootstrap is not None
    assert got.difference.value == 0.5
    assert got.prompts == 0
    # Both seeds gained as much: nothing says how far a third would be off.
    assert got.p is None and got.difference.note == "the same in each seed, so that nothing says how sure it is"
    (claimed,) = analyse(make_study(runs, reference="b"), MEASURE, HOW).under(END)
    assert claimed.result == "not shown"
    assert claimed.limits == ("paired on 0 of 4 prompts: the others were not measured in all runs",)


def test_rounding_is_no_spread() -> None:
    """0.7 - 0.6 and 0.8 - 0.7 are not one float."""
    met = {("a", 1): 7, ("b", 1): 6, ("a", 2): 8, ("b", 2): 7}
    runs = [make_run(arm, seed, f"{'1' * n:0<10}", by_prompt=arm == "a") for (arm, seed), n in met.items()]
    got = compare(make_study(runs), "a", "b", MEASURE, END, HOW)
    assert got.p is None and got.difference is not None and got.difference.note.startswith("the same in each seed")


def test_runs_on_other_prompts_are_paired_on_those_they_share() -> None:
    """By their text: another file may have the same ids."""
    a, b = make_run("a", 1, "1111"), make_run("b", 1, "1100")
    other = [dataclasses.replace(b.heldout[0], text="another prompt"), *b.heldout[1:3]]
    got = compare(make_study([a, dataclasses.replace(b, heldout=tuple(other))]), "a", "b", MEASURE, END, HOW)
    assert got.prompts == 2
    assert got.limits == ("paired on 2 of 4 prompts: the others were not measured in all runs",)
    assert got.difference is not None and got.difference.value == 0.5  # of the second prompt 0, of the third 1


def test_a_measure_that_was_not_measured_is_named() -> None:
    """Prompts of the real world, which no oracle knows."""
    unmeasured = dataclasses.replace(make_run("b", 1, "1100"), measures={})
    got = analyse(make_study([make_run("a", 1, "1111"), unmeasured], reference="b"), MEASURE, HOW).under(END)[0]
    assert "b was not measured on held-out prompts" in got.limits
    assert "no seed that both arms finished" not in got.verdict


def test_arms_of_which_the_study_names_no_pair_are_compared_all_the_same() -> None:
    """`study=reward_form arm=scalar,rubric`: without the reference that is the claim's middle."""
    runs = [make_run(arm, seed, "1111") for arm in ("scalar", "rubric") for seed in (1, 2)]
    study = make_study(runs, claims=[("rubric", "pairwise", "scalar")])
    assert pairs_of(study) == [("rubric", "pairwise"), ("pairwise", "scalar"), ("rubric", "scalar")]
    assert [c.result for c in analyse(study, MEASURE, HOW).under(END)] == ["no data", "no data", "not shown"]


def test_prompts_of_unseen_combinations_are_not_counted_in() -> None:
    runs = []
    for arm, after in (("a", "1111"), ("b", "1100")):
        run = make_run(arm, 1, after)
        unseen = dataclasses.replace(run.heldout[0], prompt_id="unseen/1", split="unseen")
        runs.append(dataclasses.replace(run, heldout=(*run.heldout, unseen)))
    assert compare(make_study(runs), "a", "b", MEASURE, END, HOW).prompts == 4


def test_a_run_that_did_not_end_is_named_and_left_out() -> None:
    runs = [make_run("a", 1, "1111"), make_run("a", 2, None), make_run("b", 1, "1100"), make_run("b", 2, "1100")]
    got = analyse(make_study(runs), MEASURE, HOW)
    assert got.arms[0].replicates == seeds(1)
    first = got.under(END)[0]
    assert first.replicates == seeds(1)
    assert "arm=a,seed=2 did not end" in first.limits


def test_other_bases_are_named() -> None:
    runs = [make_run("a", 1, "1111", before="1000"), make_run("b", 1, "1100")]
    got = compare(make_study(runs), "a", "b", MEASURE, END, HOW)
    assert got.limits == ("the arms start from different values (0.250 and 0.500 with seed 1)",)


def test_one_seed_claims_nothing() -> None:
    study = make_study([make_run("a", 1, "1111"), make_run("b", 1, "0000")])
    (got,) = analyse(study, MEASURE, HOW).under(END)
    assert (got.arm, got.reference, got.p, got.p_holm, got.result) == ("b", "a", None, None, "not shown")
    expected = "b > a: not shown (-1.000, -1.000 to -1.000, one seed: the interval is over prompts only)"
    assert got.verdict == expected


def test_runs_without_a_partner_do_not_say_where() -> None:
    progress = {1: [point(0, "0000", kl=0), point(4, "1111", kl=3)], 2: [point(0, "0000", kl=0), point(2, "1111", kl=1)]}
    runs = [make_run("a", seed, "1111", progress=progress[seed]) for seed in (1, 2)]
    runs.append(make_run("b", 1, "1111", progress=progress[1]))
    assert compare(make_study(runs), "a", "b", MEASURE, EQUAL_IMAGES, HOW).at == 40.0


def test_nothing_to_compare_is_said() -> None:
    (got,) = analyse(make_study([make_run("a", 1, "1111"), make_run("b", 2, "0000")]), MEASURE, HOW).under(END)
    assert (got.result, got.difference) == ("no data", None)
    assert got.verdict == "b > a: no data (seed 2 of b, seed 1 of a: no partner)"
    unknown = make_study([make_run("a", 1, "1111")], pairs=[("a", "zebra")])
    assert analyse(unknown, MEASURE, HOW).under(END)[0].verdict == "a > zebra: no data (seed 1 of a: no partner)"


def test_claims_after_correction() -> None:
    got = corrected([made("a", "b", 0.1, 0.02), made("a", "c", 0.3, 0.001), made("d", "a", -0.3, 0.004)], HOW)
    # 0.001 * 3, 0.004 * 2, 0.02 * 1.
    assert [c.p_holm for c in got] == pytest.approx([0.02, 0.003, 0.008])
    assert [c.result for c in got] == ["shown", "shown", "reversed"]
    assert got[0].verdict == "a > b: shown (+0.100, +0.050 to +0.300, Holm p 0.02, 5 seeds)"
    assert got[2].verdict == "d > a: reversed, a is better (-0.300, -0.350 to -0.100, Holm p 0.008, 5 seeds)"
    more = corrected([made("a", "b", 0.1, 0.04), made("a", "c", 0.3, 0.03)], HOW)  # 0.03 * 2 = 0.06 for both
    assert [c.result for c in more] == ["not shown", "not shown"]
    assert more[1].verdict == "a > c: not shown (+0.300, +0.250 to +0.500, Holm p 0.06, 5 seeds)"


def test_an_order_is_shown_if_every_link_is() -> None:
    family = corrected([made("rubric", "pairwise", 0.1, 0.01), made("scalar", "pairwise", -0.3, 0.001)], HOW)
    got = order(("rubric", "pairwise", "scalar"), END, family)
    assert (got.result, got.p) == ("shown", pytest.approx(0.01))
    assert got.links[1].verdict == "pairwise > scalar: shown (+0.300, +0.100 to +0.350, Holm p 0.002, 5 seeds)"
    assert got.verdict.startswith("rubric > pairwise > scalar: shown as a whole. rubric > pairwise: shown (")
    weak = corrected([made("rubric", "pairwise", 0.1, 0.2), made("scalar", "pairwise", -0.3, 0.001)], HOW)
    assert order(("rubric", "pairwise", "scalar"), END, weak).result == "not shown"
    assert order(("scalar", "pairwise", "rubric"), END, weak).result == "reversed"
    assert order(("scalar", "pairwise", "rubric"), END, weak).verdict.startswith("scalar > pairwise > rubric: does not hold.")


def test_which_arms_are_compared() -> None:
    runs = [make_run(arm, 1, "1111") for arm in "abc"]
    assert pairs_of(make_study(runs)) == [("b", "a"), ("c", "a"), ("c", "b")]
    assert pairs_of(make_study(runs, reference="b")) == [("a", "b"), ("c", "b")]
    assert pairs_of(make_study(runs, reference="b", claims=[("b", "a", "c")], pairs=[("c", "a")])) == [
        ("b", "a"),
        ("a", "c"),
        ("c", "b"),
    ]


def test_accuracy_between_measurements() -> None:
    run = make_run("a", 1, "1111", progress=[point(0, "1000", kl=0.0), point(2, "1100", kl=4.0), point(4, "0111", kl=3.0)])
    got = held_at(run, MEASURE, EQUAL_IMAGES, 30)  # half way between updates 2 and 4
    assert got is not None
    assert got.mean == pytest.approx(0.625)
    assert got.by_prompt == {"heldout/0": 0.5, "heldout/1": 1.0, "heldout/2": 0.5, "heldout/3": 0.5}
    first = held_at(run, MEASURE, MATCHED_KL, 3.0)  # first reached at three quarters of the way to update 2, not at update 4
    assert first is not None and first.mean == pytest.approx(0.25 + 0.75 * 0.25)
    assert held_at(run, MEASURE, MATCHED_KL, 4.1) is None
    assert held_at(run, MEASURE, EQUAL_CALLS, 1) is None  # calls were not counted


def test_matched_kl_is_the_largest_that_all_runs_reach() -> None:
    runs = []
    for seed in (1, 2):
        runs.append(make_run("a", seed, "1111", progress=[point(0, "0000", kl=0.0), point(4, "1111", kl=8.0)]))
        runs.append(make_run("b", seed, "1111", progress=[point(0, "0000", kl=0.0), point(4, "1111", kl=2.0 + 2 * seed)]))
    got = compare(make_study(runs), "a", "b", MEASURE, MATCHED_KL, HOW)
    assert got.at == 4.0
    assert got.limits == ("arm=b,seed=1 reaches no more; others reach up to KL 8",)
    # a has gone half of its way there (0.5); b with seed 1 all of it (1), with seed 2 two thirds: (-1/2 - 1/6) / 2.
    assert got.difference is not None
    assert got.difference.value == pytest.approx(-1 / 3)
    chosen = compare(make_study(runs), "a", "b", MEASURE, MATCHED_KL, dataclasses.replace(HOW, kl=6.0))
    assert (chosen.at, chosen.replicates) == (6.0, seeds(2))
    assert chosen.limits[0] == "arm=b,seed=1 never reaches KL 6, only KL 4"
    (verdict,) = [c.verdict for c in analyse(make_study(runs, pairs=[("a", "b")]), MEASURE, HOW).under(MATCHED_KL)]
    assert verdict.startswith("a > b at KL 4: not shown (-0.333, ")


def test_equal_judge_calls() -> None:
    """b asks twice as often, and at as many calls it is half as far."""
    runs = []
    for seed in (1, 2):
        runs.append(make_run("a", seed, "1111", progress=[point(0, "0000", kl=0, calls=0), point(4, "1111", kl=1, calls=100)]))
        runs.append(make_run("b", seed, "1111", progress=[point(0, "0000", kl=0, calls=0), point(4, "1111", kl=1, calls=200)]))
    got = compare(make_study(runs), "a", "b", MEASURE, EQUAL_CALLS, HOW)
    assert got.at == 100.0
    assert got.difference is not None and got.difference.value == pytest.approx(0.5)
    assert got.limits == ("arm=a,seed=1 reaches no more; others reach up to 200 judge calls",)
    same = compare(make_study(runs), "a", "b", MEASURE, EQUAL_IMAGES, HOW)
    assert same.at == 40.0 and same.difference is not None and same.difference.value == 0.0


def test_where_all_runs_end_all_prompts_count() -> None:
    progress = [point(0, "00", kl=0), point(4, "11", kl=3)]  # of two prompts, 40 images
    runs = [make_run("a", 1, "1111", progress=progress, images=40), make_run("b", 1, "1000", progress=progress, images=40)]
    got = compare(make_study(runs), "a", "b", MEASURE, EQUAL_IMAGES, HOW)
    assert (got.at, got.prompts) == (40.0, 4)
    assert got.difference is not None and got.difference.value == 0.75
    longer = make_run("b", 1, "1000", progress=[*progress, point(8, "11", kl=4)], images=80)
    got = compare(make_study([runs[0], longer]), "a", "b", MEASURE, EQUAL_IMAGES, HOW)
    assert (got.at, got.prompts) == (40.0, 2)
    assert got.difference is not None and got.difference.value == 0.0


def test_a_run_that_never_moves_cannot_be_matched() -> None:
    runs = [make_run("a", 1, "1111", progress=[point(0, "0000", kl=0), point(4, "1111", kl=3)])]
    runs.append(make_run("b", 1, "1100", progress=[point(0, "0000", kl=0), point(4, "0000", kl=0)]))
    runs.append(make_run("c", 1, "1100"))
    study = make_study(runs, reference="a")
    b, c = analyse(study, MEASURE, HOW).under(MATCHED_KL)
    assert b.verdict == "b > a at matched KL: no data (arm=b,seed=1 stays at KL 0)"
    assert c.result == "no data" and "arm=c,seed=1: not measured during training" in c.limits


def test_an_arm_whose_runs_lack_some_values_says_over_how_many_prompts_it_is() -> None:
    a, b = make_run("a", 1, "1110"), make_run("a", 2, "1110")
    short = dataclasses.replace(b, heldout=b.heldout[:2])  # two verdicts failed
    assert arm_result(make_study([a, b]), "a", MEASURE, HOW).after.note == ""  # type: ignore[union-attr]
    after = arm_result(make_study([a, short]), "a", MEASURE, HOW).after
    assert after is not None and after.note == "over the 2 of 4 prompts that every run has a value of"
