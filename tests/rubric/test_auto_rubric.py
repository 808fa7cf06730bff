"""Auto-rubric step by step, with scripted writers, and whole, with the oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL.Image import Image

from arr_rpo.judge.base import Explaining
from arr_rpo.rubric.auto_rubric import Settings, Task, auto_rubric, distinct, most_agreed
from arr_rpo.rubric.counts import Counts
from arr_rpo.rubric.refined import keep
from arr_rpo.rubric.store import RubricStore
from arr_rpo.rubric.verify import Rule
from arr_rpo.types import Cost, Criterion, Preference, Prompt, Rubric, UserError
from tests.rubric.doubles import GONE, STRICT, ScriptedJudge, ScriptedWriter, picture, preference, reply, settings

PROMPT = Prompt("p", "a photo of a circle")
RED, BLUE = picture("red circle"), picture("blue star")
OWN, HELD, OTHER = (preference(name, PROMPT, RED, BLUE, "A") for name in ("own", "held", "other"))


def by_words(rubric: Rubric, first: Image, second: Image) -> float:
    """Rubrics with the word "good" prefer red; "unheard" cannot be answered; anything else ties."""
    text = " ".join(c.question for c in rubric.criteria)
    if "unheard" in text:
        return float("nan")
    return (1.0 if first is RED else 0.0) if "good" in text else 0.5


def task(*writing: Preference, heldout: tuple[Preference, ...] = (HELD,), role: Explaining = "write_pair") -> Task:
    return Task(writing, heldout, role, {"prompt": "p"})


def run(tasks: list[Task], settings: Settings, **replies: list[str]) -> tuple[list[Any], Counts, ScriptedWriter, ScriptedJudge]:
    writer = ScriptedWriter(**replies)
    judge = ScriptedJudge(by_words, writer)
    made, report = auto_rubric(judge, tasks, settings)  # type: ignore[arg-type]
    return made, report, writer, judge


def test_verified_at_first_pass() -> None:
    [made], report, writer, judge = run([task(OWN)], settings(), write_pair=[reply("good?")])
    assert [c.question for c in made.rubric.criteria] == ["good?"]
    assert made.rubric.provenance == {
        "prompt": "p",
        "drafts_verified": "1 of 1",
        "refinements": "0",
        "heldout_pairs": "1",
        "heldout_accuracy": "1.000",
    }
    assert [role for role, _ in writer.asked] == ["write_pair"]
    # one writing call; two pairs in two orders each; the finished rubric on the held-out pair once more
    assert report == Counts(drafts=1, written=1, verified=(1, 0, 0), rubrics=1, cost=Cost(1 + 4 + 2, 10 + 40 + 20))
    assert judge.asked == 3


def test_refined_with_the_told_pair_that_failed_and_its_verdict() -> None:
    """The draft's own pair first, then the task's other writing pair; of what is held out the writer never hears."""
    [made], report, writer, _ = run(
        [task(OWN, OTHER)],
        settings(),
        write_pair=[reply("bad?"), reply("good too?")],
        refine=[reply("worse?"), reply("good?")],
    )
    assert [c.question for c in made.rubric.criteria] == ["good?", "good too?"]
    assert made.rubric.provenance["refinements"] == "2"
    assert report.verified == (1, 0, 1)
    asked = [item for role, item in writer.asked if role == "refine"]
    assert [(pair.id, rubric.criteria[0].question, str(verdict.outcome)) for pair, rubric, verdict in asked] == [
        ("own", "bad?", "tie"),
        ("other", "worse?", "tie"),  # the next told pair that was missed
    ]
    assert [step["step"] for step in made.history[0]["steps"]] == ["written", "verified"] + ["refined", "verified"] * 2
    assert made.history[0]["steps"][1]["pairs"] == ["own", "other", "held"]
    assert made.history[0]["steps"][1]["said"] == ["tie", "tie", "tie"]
    assert made.history[0]["steps"][1]["wanted"] == ["A", "A", "A"]


def test_a_draft_that_misses_held_out_pairs_alone_is_discarded() -> None:
    """To mend it by them would be to tell the writer what it is to be tried on."""
    flipped = preference("held", PROMPT, RED, BLUE, "B")
    [made], report, writer, _ = run([task(OWN, heldout=(flipped,))], settings(), write_pair=[reply("good?")])
    assert made.rubric is None
    assert report.discarded == 1
    assert [role for role, _ in writer.asked] == ["write_pair"]


def test_discarded_after_the_last_refinement() -> None:
    [made], report, _, _ = run([task(OWN)], settings(2), write_pair=[reply("bad?")], refine=[reply("worse?"), reply("worst?")])
    assert made.rubric is None
    assert not made.unanswered
    assert (report.verified, report.discarded, report.rubrics, report.without) == ((0, 0, 0), 1, 0, 1)


def test_no_refinements_are_asked_for_when_none_are_allowed() -> None:
    [made], report, _, _ = run([task(OWN)], settings(0), write_pair=[reply("bad?")])
    assert made.rubric is None
    assert report.verified == (0,)


def test_what_comes_back_unchanged_is_not_judged_again() -> None:
    [made], _, _, judge = run([task(OWN)], settings(2), write_pair=[reply("bad?")], refine=[reply("bad?"), reply("bad?")])
    assert made.rubric is None
    assert judge.asked == 2


def test_a_malformed_reply_ends_a_draft_and_is_counted() -> None:
    made, report, writer, _ = run(
        [task(OWN), task(OTHER)], settings(2), write_pair=["sorry", reply("bad?")], refine=["I cannot see images"]
    )
    assert [m.rubric for m in made] == [None, None]
    assert (report.drafts, report.written, report.malformed, report.discarded) == (2, 1, 2, 2)
    assert len([1 for role, _ in writer.asked if role == "refine"]) == 1
    assert "not JSON" in made[0].history[0]["steps"][0]["malformed"]
    assert "cannot see" in made[1].history[0]["steps"][-1]["malformed"]
    assert all(m.unread and not m.unanswered for m in made)


def test_json_that_is_no_rubric_is_read(tmp_path: Path) -> None:
    """The oracle says so of a label that nothing explains: the store keeps that, where it does not keep a reply cut off."""
    own = {"write_pair": ['{"criteria": []}']}
    for replies, kept in ((own, 1), ({"write_pair": ['{"criteria": [{"na']}, 0)):
        [made], *_ = run([task(OWN)], settings(0), **replies)
        assert made.rubric is None and made.unread is (not kept)
        store = RubricStore(str(tmp_path / str(kept)))
        keep(store, task(OWN), made)
        assert (store.get({"prompt": "p"}) is not None) is bool(kept)


def test_what_was_not_answered_is_not_discarded() -> None:
    """Of three held-out pairs one is missed: two of three, where three quarters are asked for, may yet be three of four."""
    held = tuple(preference(f"held{i}", PROMPT, picture("red circle"), BLUE, "A") for i in range(4))
    heard = {id(pair.a): p for pair, p in zip(held, (1.0, 1.0, 0.5, float("nan")), strict=True)}

    def opinion(rubric: Rubric, first: Image, second: Image) -> float:
        p = heard.get(id(first), heard.get(id(second), 1.0))
        return p if second is BLUE else 1 - p

    writer = ScriptedWriter(write_pair=[reply("good?")])
    rule = settings(0, rule=Rule(both_orders=True, min_heldout=0.75))
    [made], report = auto_rubric(ScriptedJudge(opinion, writer), [task(OWN, heldout=held)], rule)  # type: ignore[arg-type]
    assert (made.rubric, made.unanswered) == (None, True)
    assert (report.unanswered, report.discarded) == (1, 0)
    heard[id(held[1].a)] = 0.5  # now it cannot be
    writer = ScriptedWriter(write_pair=[reply("good?")])
    [made], report = auto_rubric(ScriptedJudge(opinion, writer), [task(OWN, heldout=held)], rule)  # type: ignore[arg-type]
    assert (made.rubric, made.unanswered) == (None, False)
    assert (report.unanswered, report.discarded) == (0, 1)


def test_a_rubric_that_is_not_heard_on_the_held_out_pairs_is_put_together_and_not_stored() -> None:
    """Each draft verified; of both together the judge said nothing, which is no reason to drop one."""

    def opinion(rubric: Rubric, first: Image, second: Image) -> float:
        return float("nan") if len(rubric.criteria) > 1 else by_words(rubric, first, second)

    writer = ScriptedWriter(write_pair=[reply("good?"), reply("good too?")])
    [made], _ = auto_rubric(ScriptedJudge(opinion, writer), [task(OWN, OTHER)], settings(0))  # type: ignore[arg-type]
    assert made.rubric is not None and len(made.rubric.criteria) == 2
    assert made.unanswered


def test_a_judge_that_is_not_heard_is_no_verdict() -> None:
    [made], report, writer, _ = run([task(OWN)], settings(2), write_pair=[reply("unheard?")])
    assert made.rubric is None
    assert made.unanswered
    assert (report.unanswered, report.discarded) == (1, 0)
    assert [role for role, _ in writer.asked] == ["write_pair"]  # there is nothing to refine by


def test_a_reply_that_does_not_come_is_no_malformed_one() -> None:
    """A server that is away must not have a prompt discarded for good."""
    made, report, _, _ = run([task(OWN), task(OTHER)], settings(2), write_pair=[GONE, reply("bad?")], refine=[GONE])
    assert [(m.rubric, m.unanswered) for m in made] == [(None, True), (None, True)]
    assert (report.unanswered, report.malformed, report.discarded, report.written) == (2, 0, 0, 1)
    [made_one], report, _, _ = run([task(OWN)], settings(0, structure=True), write_pair=[reply("good?")], structure=[GONE])
    assert made_one.rubric.criteria == (Criterion("n", "good?"),)
    assert made_one.unanswered
    assert (report.unstructured, report.malformed) == (1, 0)


def test_the_verified_drafts_of_a_task_become_one_rubric() -> None:
    """Exact duplicates fall to code, the rest to the writer; what failed is left out."""
    tasks = [task(OWN, OTHER, HELD), task(OTHER)]
    made, report, writer, _ = run(
        tasks,
        settings(0, structure=True),
        write_pair=[reply("good one?", "good two?"), reply("Good  ONE?", "good three?"), reply("bad?"), reply("good four?")],
        structure=['{"themes": [{"theme": "T", "criteria": [3, 1]}]}', '{"themes": [{"theme": "U", "criteria": [1]}]}'],
    )
    assert [role for role, _ in writer.asked].count("structure") == 2
    offered = [[c.question for c in item] for role, item in writer.asked if role == "structure"]
    assert offered == [["good one?", "good two?", "good three?"], ["good four?"]]
    assert made[0].rubric.criteria == (Criterion("n", "good three?", 1.0, "T"), Criterion("n", "good one?", 1.0, "T"))
    assert made[0].rubric.provenance["drafts_verified"] == "2 of 3"
    assert made[1].rubric.criteria == (Criterion("n", "good four?", 1.0, "U"),)
    assert (report.rubrics, report.discarded, report.unstructured, report.malformed) == (2, 1, 0, 0)


def test_drafts_that_fail_together_are_not_put_together() -> None:
    """Each recovers the held-out pair; both at once tie on it, so the better one stands alone."""

    def quarrelling(rubric: Rubric, first: Image, second: Image) -> float:
        return 0.5 if len(rubric.criteria) > 1 else by_words(rubric, first, second)

    writer = ScriptedWriter(write_pair=[reply("good one?"), reply("good two?")])
    [made], report = auto_rubric(ScriptedJudge(quarrelling, writer), [task(OWN, OTHER)], settings(0))  # type: ignore[list-item]
    assert made.rubric is not None
    assert [c.question for c in made.rubric.criteria] == ["good one?"]
    assert made.rubric.provenance["drafts_verified"] == "1 of 2"
    assert made.rubric.provenance["heldout_accuracy"] == "1.000"
    assert (report.unstructured, report.malformed) == (1, 0)


def test_a_draft_that_stands_alone_keeps_to_the_limit() -> None:
    """What one criterion of a longer draft does not recover is no reason to have them all."""

    def needs_both(rubric: Rubric, first: Image, second: Image) -> float:
        return by_words(rubric, first, second) if len(rubric.criteria) > 1 else 0.5

    writer = ScriptedWriter(write_pair=[reply("good one?", "good two?")])
    limited = replace(settings(0), max_criteria=1)
    [made], _ = auto_rubric(ScriptedJudge(needs_both, writer), [task(OWN)], limited)  # type: ignore[list-item]
    assert made.rubric is not None
    assert len(made.rubric.criteria) == 1
    assert made.rubric.provenance["heldout_accuracy"] == "0.000"


def test_a_malformed_structure_leaves_the_criteria_as_they_are() -> None:
    [made], report, _, _ = run(
        [task(OWN)], settings(structure=True), write_pair=[reply("good?", "also?")], structure=['{"themes": [1]}']
    )
    assert made.rubric.criteria == (Criterion("n", "good?"), Criterion("n", "also?"))
    assert (report.unstructured, report.malformed, report.rubrics) == (1, 1, 1)


def test_the_criteria_that_most_drafts_agree_on_stay() -> None:
    a, b, c = (Criterion("n", q) for q in ("a?", "b?", "c?"))
    counts = distinct([a, b, c, Criterion("m", "B?"), c, Criterion("n", " c? ")])
    assert counts == {a: 1, b: 2, c: 3}
    assert most_agreed((a, b, c), counts, 2) == (b, c)
    assert most_agreed((c, Criterion("n", "a?", 1.0, "T"), b), counts, 3)[1].theme == "T"
    [made], _, _, _ = run(
        [task(OWN, OTHER)], settings(0, max_criteria=1), write_pair=[reply("good x?", "good y?"), reply("good y?")]
    )
    assert [criterion.question for criterion in made.rubric.criteria] == ["good y?"]


def test_tasks_are_written_in_their_role() -> None:
    _, _, writer, _ = run(
        [task(OWN), task(OTHER, role="write_general")], settings(), write_pair=[reply("good?")], write_general=[reply("good?")]
    )
    assert [(role, pair.id) for role, pair in writer.asked] == [("write_pair", "own"), ("write_general", "other")]


def test_a_limit_beyond_what_a_rubric_holds_is_refused() -> None:
    with pytest.raises(UserError, match="max_criteria=21"):
        Settings(STRICT, 1, 21, True)


def test_reports_add_up_and_make_a_table() -> None:
    total = Counts(drafts=3, written=2, verified=(1, 1), cost=Cost(2, 5)) + Counts(
        drafts=1, verified=(0, 0, 1), cost=Cost(1, 1)
    )
    assert total == Counts(drafts=4, written=2, verified=(1, 1, 1), cost=Cost(3, 6))
    rows = dict(total.rows())
    assert rows["written"] == "2 (50%)"
    assert rows["verified at first pass"] == "1 (25%)"
    assert rows["verified after 1 refinement"] == "1"
    assert rows["verified after 2 refinements"] == "1"
    assert dict(Counts().rows())["written"] == "0"
