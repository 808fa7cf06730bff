"""Auto-rubric (ARR, arXiv 2605.08354): write, verify, refine or discard, structure.

The writer is told which image of a pair people prefer; the judge that verifies is not.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import get_args

from arr_rpo.judge.base import Explaining, Judge, Writer
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.reasons import OF_THE_REPLY
from arr_rpo.judge.rubric_reply import MAX_CRITERIA, RubricError, parse_rubric, parse_structure
from arr_rpo.rubric.counts import Counts
from arr_rpo.rubric.drafts import Draft, Event, Made
from arr_rpo.rubric.verify import Rule, verify_all
from arr_rpo.strict_json import short
from arr_rpo.types import Cost, Criterion, Preference, Reason, Rubric, UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """rule: when a draft has passed. max_refinements: then it is discarded. max_criteria: of the structured rubric; those
    that most drafts agree on stay. structure: whether the writer puts them under themes and leaves out what is redundant.
    verify: False is an ablation that ARR has not: every draft that was written counts, unseen by a judge; no pair is held out.
    """

    rule: Rule
    max_refinements: int
    max_criteria: int
    structure: bool
    verify: bool = True  # a run of before does not know it

    def __post_init__(self) -> None:
        if not 1 <= self.max_criteria <= MAX_CRITERIA:
            raise UserError(f"rubric: max_criteria={self.max_criteria} must be 1 to {MAX_CRITERIA}")
        if not self.verify and self.rule.min_heldout > 0:
            raise UserError(
                "rubric: settings.verify=false holds no pair out, so min_heldout must be 0: rubric/settings=unverified"
            )


@dataclass(frozen=True)
class Task:
    """One rubric to make: a draft from each of the `writing` pairs, tried on it and on all `heldout` ones. It is mended by what
    it missed of the writing and the `mending` pairs: of a held-out pair no writer ever hears.

    role: in which the writer is asked; for a rubric of any prompt the pairs are of many.
    identity: goes into the rubric's provenance.
    """

    writing: tuple[Preference, ...]
    heldout: tuple[Preference, ...]
    role: Explaining
    identity: Mapping[str, str]
    mending: tuple[Preference, ...] = ()


def auto_rubric(judge: Judge, tasks: Sequence[Task], settings: Settings) -> tuple[list[Made], Counts]:
    """A rubric for each task, and the figures. All tasks go through each step together."""
    if not settings.verify:
        drafts, cost = _write(judge.writer, [replace(task, heldout=()) for task in tasks], mending=False)
        drafts = [replace(draft, unverified=True) for draft in drafts]
        made, structuring = _structure(judge, [replace(task, heldout=()) for task in tasks], drafts, settings)
        return made, _report(drafts, made, settings) + structuring + Counts(cost=cost)
    drafts, cost = _write(judge.writer, tasks, settings.max_refinements > 0)
    drafts, more = _verify(judge, drafts, settings.rule)
    cost += more
    for _ in range(settings.max_refinements):
        drafts, writing = _refine(judge.writer, drafts)
        drafts, judging = _verify(judge, drafts, settings.rule)
        cost += writing + judging
    made, structuring = _structure(judge, tasks, drafts, settings)
    return made, _report(drafts, made, settings) + structuring + Counts(cost=cost)


def _write(writer: Writer, tasks: Sequence[Task], mending: bool) -> tuple[list[Draft], Cost]:
    """A draft from each writing pair. The task's other writing pairs are pairs to mend it by, if it may be mended."""
    drafts, cost = [], Cost()
    for role in get_args(Explaining):
        asked = [(i, pair) for i, task in enumerate(tasks) if task.role == role for pair in task.writing]
        if not asked:
            continue
        replies, more = writer.write_from_pairs([pair for _, pair in asked], role=role)
        cost += more
        for (i, pair), reply in zip(asked, replies, strict=True):
            told = (*tasks[i].writing, *tasks[i].mending) if mending else ()
            others = [other for other in told if other is not pair]
            draft = Draft(i, (pair, *others, *tasks[i].heldout), 1 + len(others))
            drafts.append(_read(draft, reply, "written"))
    return drafts, cost


def _verify(judge: Judge, drafts: Sequence[Draft], rule: Rule) -> tuple[list[Draft], Cost]:
    """Verifies the drafts that are new or have changed."""
    asked = [d for d in drafts if d.rubric is not None and d.verification is None]
    rubrics = [d.rubric for d in asked if d.rubric]
    found = iter(verify_all(judge, rubrics, [d.pairs for d in asked], rule, [d.told for d in asked]))
    cost, after = Cost(), []
    for draft in drafts:
        if draft.rubric is not None and draft.verification is None:
            verification = next(found)
            cost += verification.cost
            event = {
                "step": "verified",
                "pairs": [pair.id for pair in draft.pairs],
                "wanted": [str(pair.better) for pair in draft.pairs],
                "said": [str(verdict.outcome) for verdict in verification.verdicts],
                "by_order": [verdict.p_a_by_order for verdict in verification.verdicts],
                "passed": verification.passed,
            }
            draft = replace(draft, verification=verification, history=(*draft.history, event))  # noqa: PLW2901
        after.append(draft)
    return after, cost


def _refine(writer: Writer, drafts: Sequence[Draft]) -> tuple[list[Draft], Cost]:
    """Has each failed draft mended on a told pair that it missed: the next one each time. What comes back unchanged stays
    judged; what missed held-out pairs alone cannot be mended."""
    rows = [i for i, draft in enumerate(drafts) if draft.refinable]
    if not rows:
        return list(drafts), Cost()
    pairs, rubrics, verdicts = [], [], []
    for i in rows:
        draft = drafts[i]
        assert draft.rubric is not None
        assert draft.verification is not None
        missed = draft.refinable[draft.refinements % len(draft.refinable)]
        pairs.append(draft.pairs[missed])
        rubrics.append(draft.rubric)
        verdicts.append(draft.verification.verdicts[missed])
    replies, cost = writer.refine(pairs, rubrics, verdicts)
    after = list(drafts)
    for i, pair, reply in zip(rows, pairs, replies, strict=True):
        after[i] = _read(replace(drafts[i], refinements=drafts[i].refinements + 1), reply, "refined", on=pair.id)
    return after, cost


def _read(draft: Draft, reply: str | NoAnswer, step: str, **more: str) -> Draft:
    """The draft with the rubric of a reply. One that is no rubric ends the draft: the same question has the same reply."""
    if isinstance(reply, NoAnswer) and reply.reason not in OF_THE_REPLY:
        unheard = {"step": step, **more, "unheard": reply.reason, "because": str(reply)}
        return replace(draft, unheard=True, history=(*draft.history, unheard))
    try:
        rubric = _rubric(reply)
    except NoAnswer as error:
        log.warning("no rubric %s from pair %s: %s", step, draft.pairs[0].id, error)
        failure = {"step": step, **more, "malformed": str(error), "reason": error.reason}
        unread, history = error.reason is not Reason.OTHER_FORM, (*draft.history, failure)
        return replace(draft, rubric=None, malformed=draft.malformed + 1, unread=unread, history=history)
    event: Event = {"step": step, **more, "criteria": [c.question for c in rubric.criteria]}
    same = draft.rubric is not None and rubric.criteria == draft.rubric.criteria
    verification = draft.verification if same else None
    return replace(draft, rubric=rubric, verification=verification, history=(*draft.history, event))


def _rubric(reply: str | NoAnswer) -> Rubric:
    """Raises a `NoAnswer` where the reply is no rubric."""
    if isinstance(reply, NoAnswer):
        raise reply
    try:
        return parse_rubric(reply, {})
    except RubricError as error:
        raise NoAnswer(error.reason, f"{error}; the reply: {short(ascii(reply))}") from error


def _structure(judge: Judge, tasks: Sequence[Task], drafts: Sequence[Draft], settings: Settings) -> tuple[list[Made], Counts]:
    """The verified drafts of each task as one rubric, with what it recovers of the held-out pairs in its provenance: the best
    draft alone, of those within the limit, where all together recover too little."""
    verified = {i: some for i in range(len(tasks)) if (some := [d for d in drafts if d.task == i and d.passed])}
    rubrics, unheard, counted = _put_together(judge.writer, verified, tasks, settings)
    cost, apart = Cost(), 0
    heldout = verify_all(judge, list(rubrics.values()), [tasks[i].heldout for i in rubrics], settings.rule, [0] * len(rubrics))
    for i, verification in zip(rubrics, heldout, strict=True):
        cost += verification.cost
        used, accuracy = verified[i], verification.heldout_accuracy
        short = [d for d in used if d.rubric and len(d.rubric.criteria) <= settings.max_criteria]
        if len(verification.answered) < len(verification.verdicts) and (accuracy or 0.0) < settings.rule.min_heldout:
            unheard.add(i)  # what failed is no miss
        elif short and (accuracy or 0.0) < settings.rule.min_heldout:  # together they no longer do what each does alone
            used = [max(short, key=_heldout_accuracy)]
            rubrics[i], accuracy = used[0].rubric or rubrics[i], _heldout_accuracy(used[0])
            apart += 1
            log.warning("drafts from pair %s are not put together: their best stands alone", tasks[i].writing[0].id)
        pairs = len(verification.heldout)
        rubrics[i] = replace(rubrics[i], provenance=_provenance(tasks[i], used, pairs, accuracy))
    made = [
        Made(
            rubrics.get(i),
            unanswered=i in unheard or (i not in rubrics and any(d.unanswered for d in drafts if d.task == i)),
            history=tuple({"pair": d.pairs[0].id, "steps": d.history} for d in drafts if d.task == i),
            unread=i not in rubrics and any(d.unread for d in drafts if d.task == i),
        )
        for i in range(len(tasks))
    ]
    return made, counted + Counts(unstructured=apart, cost=cost)


def _put_together(
    writer: Writer, verified: Mapping[int, Sequence[Draft]], tasks: Sequence[Task], settings: Settings
) -> tuple[dict[int, Rubric], set[int], Counts]:
    """By task, the criteria of its drafts as one rubric: as the writer structures them, or as they are; and the tasks whose
    structure got no answer."""
    counts = {i: distinct([c for d in some if d.rubric for c in d.rubric.criteria]) for i, some in verified.items()}
    replies: Sequence[str | NoAnswer] = []
    cost, unstructured, malformed = Cost(), 0, 0
    unheard: set[int] = set()
    if verified and settings.structure:
        replies, cost = writer.structure([list(counted) for counted in counts.values()])
    rubrics = {i: Rubric(most_agreed(tuple(counted), counted, settings.max_criteria)) for i, counted in counts.items()}
    for (i, counted), reply in zip(counts.items(), replies, strict=False):
        try:
            if isinstance(reply, NoAnswer):
                raise reply
            rubrics[i] = Rubric(most_agreed(parse_structure(reply, list(counted)), counted, settings.max_criteria))
        except (RubricError, NoAnswer) as error:
            silent = error.reason not in OF_THE_REPLY
            unstructured += 1
            malformed += not silent
            unheard |= {i} if silent else set()
            log.warning("a rubric from pair %s stays unstructured: %s", tasks[i].writing[0].id, error)
    return rubrics, unheard, Counts(unstructured=unstructured, malformed=malformed, cost=cost)


def same_words(question: str) -> str:
    """A question, case and spacing aside."""
    return " ".join(question.casefold().split())


def distinct(criteria: Sequence[Criterion]) -> dict[Criterion, int]:
    """Each criterion once, as it was first worded, with how often it stands there; case and spacing aside."""
    keys = [same_words(criterion.question) for criterion in criteria]
    counts = Counter(keys)
    return {criteria[keys.index(key)]: count for key, count in counts.items()}


def most_agreed(criteria: Sequence[Criterion], counts: Mapping[Criterion, int], most: int) -> tuple[Criterion, ...]:
    """At most `most` of the criteria, those whose questions have the highest counts, in the order that they stand in."""
    agreed = {criterion.question: count for criterion, count in counts.items()}
    ranked = sorted(range(len(criteria)), key=lambda i: -agreed[criteria[i].question])
    return tuple(criteria[i] for i in sorted(ranked[:most]))


def _heldout_accuracy(draft: Draft) -> float:
    return (draft.verification.heldout_accuracy if draft.verification else None) or 0.0


def _provenance(task: Task, drafts: Sequence[Draft], pairs: int, accuracy: float | None) -> dict[str, str]:
    return {
        **task.identity,
        ("drafts_unverified" if drafts[0].unverified else "drafts_verified"): f"{len(drafts)} of {len(task.writing)}",
        "refinements": str(sum(draft.refinements for draft in drafts)),
        "heldout_pairs": str(pairs),
        **({} if accuracy is None else {"heldout_accuracy": f"{accuracy:.3f}"}),
    }


def _report(drafts: Sequence[Draft], made: Sequence[Made], settings: Settings) -> Counts:
    passed = Counter(draft.refinements for draft in drafts if draft.passed)
    unanswered = sum(draft.unanswered for draft in drafts)
    return Counts(
        drafts=len(drafts),
        written=sum("criteria" in draft.history[0] for draft in drafts),
        verified=tuple(passed[k] for k in range(settings.max_refinements + 1)) if settings.verify else (),
        discarded=len(drafts) - sum(passed.values()) - unanswered,
        unanswered=unanswered,
        malformed=sum(draft.malformed for draft in drafts),
        rubrics=sum(result.rubric is not None for result in made),
        without=sum(result.rubric is None for result in made),
    )


def describe(settings: Settings) -> str:
    """The settings in one line: what a rubric was made by is part of its identity."""
    values = {**asdict(settings), **asdict(settings.rule)}
    if settings.verify:
        del values["verify"]  # rubrics of before the switch were verified
    return " ".join(f"{key}={value}" for key, value in sorted(values.items()) if key != "rule")
