"""`python experiments/hacking/told.py`: rubrics that are told what an annotator likes, for the arm `told` of study=hacking.

Of each prompt that leaves a taste open: the prompt's own criteria, whose weights together are what following it is worth to the
annotator, and the open tastes with theirs. Writes runs/hacking/told/<annotator>.yaml, which `rubric=from_file` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from arr_rpo.data.prompts import read_prompts
from arr_rpo.judge.rubric_reply import criterion_json
from arr_rpo.shapes.annotators.people import Annotator, annotators
from arr_rpo.shapes.world.asked import own
from arr_rpo.types import Criterion, Prompt

PLACE = Path("runs/hacking/told")


def criteria(who: Annotator, prompt: Prompt) -> list[Criterion]:
    """What a picture of the prompt is worth to them, question by question: their weights add up to the utility of the best."""
    asked = own(prompt.metadata)
    mine = [Criterion(one.name, one.text, weight=who.prompt / len(asked)) for one in asked]
    return [*mine, *(Criterion("taste", one.question, weight=weight) for one, weight in who.open_in(prompt.metadata))]


def rubrics(who: Annotator, prompts: Iterable[Prompt]) -> Iterator[dict[str, object]]:
    for prompt in prompts:
        if who.open_in(prompt.metadata):
            yield {"prompt": prompt.text, "criteria": [criterion_json(one) for one in criteria(who, prompt)]}


if __name__ == "__main__":
    PLACE.mkdir(parents=True, exist_ok=True)
    prompts = {p.text: p for split in ("open_train", "open_heldout") for p in read_prompts(f"shapes/{split}")}
    for who in annotators().values():
        found = list(rubrics(who, prompts.values()))
        (PLACE / f"{who.name}.yaml").write_text(yaml.dump({"rubrics": found}, sort_keys=False), encoding="utf-8")
        print(f"{who.name}: {len(found)} prompts")
