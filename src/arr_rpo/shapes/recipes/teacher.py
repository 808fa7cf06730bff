"""The lessons of the embedded judge: a conversation of each role, with true answers.

A conversation describes each picture first (perception), then answers questions about what was described (reasoning), so that
each token is learnable. The texts are those of the judge's wording, in the layout of `judge.asking`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from arr_rpo.judge.forms import A_B, GRADES, YES_NO, grades, verdict
from arr_rpo.judge.local.qwen_processors import Qwen3VLProcessor
from arr_rpo.judge.wording import Wording, render
from arr_rpo.shapes.recipes import taught
from arr_rpo.shapes.recipes.judge_data import Conversation, Group, Picture, balanced_question, look_up
from arr_rpo.shapes.recipes.judge_parts import ASSISTANT, END, IMAGE_PAD, USER, VISION_END, VISION_START
from arr_rpo.shapes.recipes.lesson_criteria import (
    MOST_CRITERIA,
    better_of,
    chance,
    distinct,
    explaining,
    liked,
    met,
    nameable,
    random_prompt,
    rubric_with_tastes,
    some,
    some_rubric,
    to_mend,
    to_mend_with_tastes,
)
from arr_rpo.shapes.world import general
from arr_rpo.shapes.world.asked import (
    Asked,
    anyone,
    critique_text,
    dimension_grades,
    dimensions,
    is_edit,
    own,
    specific,
    text_of,
)
from arr_rpo.shapes.world.rubric_json import rubric_json, themes_json
from arr_rpo.types import Criterion, Rubric

Rng = np.random.Generator
# One token in a long conversation: it counts more, or it is learnt last.
VERDICT_WEIGHT = {"compare": 5.0, "compare_rubric": 2.0}


class Teacher:
    """Makes training conversations of each role. `wording` is the judge's own.

    tastes: share of the questions, rubrics and lists about prompts in which tastes are among what is asked; 0 knows of none.
    """

    def __init__(self, processor: Qwen3VLProcessor, tastes: float = 0.0) -> None:
        self._tastes = tastes
        self.tokenizer = tokenizer = processor.tokenizer
        self.wording = Wording("shapes")
        tokens = (USER, ASSISTANT, END, VISION_START, IMAGE_PAD, VISION_END)
        self._ids = {token: tokenizer.convert_tokens_to_ids(token) for token in tokens}
        self._encode = functools.lru_cache(maxsize=200_000)(lambda text: tokenizer(text).input_ids)

    def describing(self, *pictures: Picture, source: Picture | None = None, before: str = "") -> Conversation:
        """The turns in which the pictures are described, an edit's source first."""
        conversation = Conversation(self._encode, self._ids)
        shown = list(zip(self.wording.labels(len(pictures), source is not None), pictures, strict=True))
        if source is not None:
            shown.insert(0, (self.wording.say("source_label", edit=True), source))
        for label, picture in shown:
            conversation.describe(before + label, picture, self.wording.say("describe"))
            before = ""
        return conversation

    # -- one picture --------------------------------------------------------------------------------------------------

    def single(self, group: Group, rng: Rng, turns: int) -> Conversation:
        """A prompt and a picture: its description, then `turns` questions of every role that looks at one picture."""
        picture = group.pictures[int(rng.integers(len(group.pictures)))]
        metadata = group.metadata
        if not is_edit(metadata) and rng.random() < 0.15:
            metadata = random_prompt(rng)
        edit = is_edit(metadata)
        before, score = self.wording("score", edit=edit, prompt=text_of(metadata, rng))
        conversation = self.describing(picture, source=group.source, before=before)
        general_ones, mine = anyone(metadata), own(metadata)
        tastes = 0.0 if edit else self._tastes
        for role in rng.choice(5, size=turns, p=(0.26, 0.06, 0.05, 0.15, 0.48)):
            if role == 0:
                look = taught.look_up if chance(tastes, rng) else look_up
                question_text, answer = look(picture.things, rng)
                conversation.user(question_text)
                conversation.write(answer)
            elif role == 1:
                conversation.user(score)
                conversation.fill(GRADES, [GRADES[round(4 * met(mine, picture))]])
            elif role == 2:
                self._criticise(conversation, picture, metadata)
            else:
                general_one = general_ones[int(rng.integers(len(general_ones)))]
                asked = general_one
                if role == 4:
                    likes = chance(tastes, rng)
                    things = picture.things
                    asked = liked(taught.balanced_taste(things, rng)) if likes else specific(balanced_question(things, rng))
                conversation.user(self.wording.say("check", edit=edit, prompt="", question=asked.text))
                conversation.fill(YES_NO, [YES_NO[not asked.truth(picture.things)]])
        return conversation

    def _criticise(self, conversation: Conversation, picture: Picture, metadata: dict[str, Any]) -> None:
        conversation.user(self.wording.say("critique", edit=is_edit(metadata), prompt=""))
        conversation.write(critique_text(picture.things, metadata))
        conversation.user(self.wording.say("grade"))
        graded = dimension_grades(picture.things, metadata)
        conversation.fill(grades(dimensions(metadata)), list(graded.values()))

    # -- two pictures -------------------------------------------------------------------------------------------------

    def pair(self, group: Group, rng: Rng) -> Conversation:
        """Two pictures of a prompt in a role that looks at two. Where neither is better there is nothing to explain."""
        chosen, better = self._choose(group, rng)
        explaining = [self._write_pair, self._write_general, self._refine]
        role = int(rng.choice(6, p=(0.42, 0.12, 0.12, 0.12, 0.06, 0.16)))
        if role >= 3 and better is not None:
            return explaining[role - 3](group, chosen, better, rng)
        judging = {1: self._compare, 2: self._plan}.get(role, self._compare_by_rubric)
        return judging(group, chosen, rng)

    @staticmethod
    def _choose(group: Group, rng: Rng) -> tuple[list[Picture], int | None]:
        """A pair, preferably one with a better picture (0 or 1)."""
        for _ in range(2):
            chosen = [group.pictures[int(i)] for i in rng.permutation(len(group.pictures))[:2]]
            a, b = (met(own(group.metadata), picture) for picture in chosen)
            if a != b:
                return chosen, int(b > a)
        return chosen, None

    def _compare(self, group: Group, pair: list[Picture], rng: Rng) -> Conversation:
        before, after = self.wording("compare", edit=is_edit(group.metadata), prompt=text_of(group.metadata, rng))
        conversation = self.describing(*pair, source=group.source, before=before)
        conversation.user(after)
        conversation.fill(A_B, [better_of(own(group.metadata), pair, rng)], last=VERDICT_WEIGHT["compare"])
        return conversation

    def _compare_by_rubric(self, group: Group, pair: list[Picture], rng: Rng) -> Conversation:
        metadata = group.metadata
        about = rubric_with_tastes if self._of_taste(metadata, rng) else some_rubric
        asked = about(metadata, pair, rng)
        rubric = Rubric(tuple(Criterion(a.name, a.text) for a in asked))
        if rng.random() < 0.25:  # as structured rubrics are shown
            asked = sorted(asked, key=lambda a: general.theme_of(a.text))
            rubric = Rubric(tuple(Criterion(a.name, a.text, theme=general.theme_of(a.text)) for a in asked))
        fields = {"prompt": text_of(metadata, rng), "rubric": render(rubric)}
        before, after = self.wording("compare_rubric", edit=is_edit(metadata), **fields)
        conversation = self.describing(*pair, source=group.source, before=before)
        conversation.user(after)
        checks = [YES_NO[not a.truth(p.things)] for a in asked for p in pair]
        tally = [str(sum(a.truth(p.things) for a in asked)) for p in pair]
        choices = [*checks, *tally, better_of(asked, pair, rng)]
        conversation.fill(verdict([a.text for a in asked]), choices, last=VERDICT_WEIGHT["compare_rubric"])
        return conversation

    def _plan(self, group: Group, pair: list[Picture], rng: Rng) -> Conversation:
        """A neutral checklist: the prompt's criteria on which the pictures differ; all of them where they do not."""
        asked = own(group.metadata)
        split = [a for a in asked if a.truth(pair[0].things) != a.truth(pair[1].things)] or asked
        return self._written("plan", group, pair, split, rng)

    def _write_pair(self, group: Group, pair: list[Picture], better: int, rng: Rng) -> Conversation:
        told = explaining(own(group.metadata), pair, better)
        return self._written("write_pair", group, pair, told, rng, better=A_B[better])

    def _write_general(self, group: Group, pair: list[Picture], better: int, rng: Rng) -> Conversation:
        told = explaining(anyone(group.metadata), pair, better)
        if not told:
            return self._write_pair(group, pair, better, rng)
        return self._written("write_general", group, pair, told, rng, better=A_B[better])

    def _refine(self, group: Group, pair: list[Picture], better: int, rng: Rng) -> Conversation:
        mending = to_mend_with_tastes(group.metadata, pair, better, rng) if self._of_taste(group.metadata, rng) else None
        given, told, target = mending or to_mend(group.metadata, pair, better, rng)
        fields = {"rubric": render([a.text for a in given]), "better": A_B[better], "said": told}
        return self._written("refine", group, pair, target, rng, **fields)

    def _written(
        self, role: str, group: Group, pair: list[Picture], target: list[Asked], rng: Rng, **fields: str
    ) -> Conversation:
        edit, prompt = is_edit(group.metadata), text_of(group.metadata, rng)
        before, after = self.wording(role, edit=edit, prompt=prompt, **fields)
        conversation = self.describing(*pair, source=group.source, before=before)
        conversation.user(after)
        conversation.write(rubric_json([(a.name, a.text) for a in target]))
        return conversation

    def naming(self, group: Group, rng: Rng) -> Conversation | None:
        """Two pictures of which one is called the better one, mostly one that follows the prompt as well or better: all general
        criteria and tastes that it meets and the other does not. None where there are none, too many, or one not to be named.
        """
        pair, better = self._choose(group, rng)
        if better is None or rng.random() < 0.15:
            better = int(rng.integers(2))
        likes = taught.differing(pair[better].things, pair[1 - better].things)
        told = [*explaining(anyone(group.metadata), pair, better), *map(liked, likes)]
        if not 1 <= len(told) <= taught.MOST_NAMED or not nameable(likes):
            return None
        return self._written("write_taste", group, pair, told, rng, better=A_B[better])

    def _of_taste(self, metadata: dict[str, Any], rng: Rng) -> bool:
        """Whether tastes are among what is asked this time; never of an edit."""
        return not is_edit(metadata) and chance(self._tastes, rng)

    # -- no candidates ------------------------------------------------------------------------------------------------

    def writing(self, group: Group, rng: Rng) -> Conversation:
        """The rubric, as JSON, of an edit with its source as it is shown to a judge, or of a prompt; or, two in five, criteria
        to be structured."""
        if rng.random() < 0.4:
            return self._structuring(rng)
        edit = is_edit(group.metadata)
        metadata = group.metadata if edit else random_prompt(rng)
        before, after = self.wording("write", edit=edit, prompt=text_of(metadata, rng))
        conversation = self.describing(source=group.source, before=before)
        conversation.user(after)
        conversation.write(rubric_json([(a.name, a.text) for a in own(metadata)]))
        return conversation

    def _structuring(self, rng: Rng) -> Conversation:
        metadata = random_prompt(rng)
        pool, most = [*own(metadata), *own(random_prompt(rng)), *anyone(metadata)], MOST_CRITERIA
        if chance(self._tastes, rng):
            most = taught.MOST_NAMED
            pool += map(liked, some(taught.taught(), most, rng))
        pool = distinct(pool)
        texts = [pool[int(i)].text for i in rng.permutation(len(pool))[: int(rng.integers(1, most + 1))]]
        conversation = Conversation(self._encode, self._ids)
        conversation.user(self.wording.say("structure", criteria=render(texts)))
        conversation.write(themes_json(texts))
        return conversation
