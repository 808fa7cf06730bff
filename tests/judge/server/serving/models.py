"""A judge's model on a server, as the tests configure it, and what they ask it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from arr_rpo.judge.asking import user
from arr_rpo.judge.forms import Form, pieces, verdict
from arr_rpo.judge.pictures import AS_THEY_ARE
from arr_rpo.judge.server.model import ServerModel
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.shapes.world.scene import draw, place
from arr_rpo.types import Criterion, Prompt, Rubric, Verdict
from tests.conftest import configure
from tests.judge.server.serving.wire import Answer, Response, completion

QUESTIONS = ("is there a red circle?", "is there exactly one object in total?")
RUBRIC = Rubric(tuple(Criterion(f"c{i}", q) for i, q in enumerate(QUESTIONS)))
PROMPT = Prompt("1", "a photo of a red circle")
FORM = verdict(QUESTIONS)


def drawing(colour: str, shape: str, cell: int) -> Image.Image:
    return draw(place([(colour, shape)], [cell], np.random.default_rng(cell)))


A, B = drawing("red", "circle", 0), drawing("blue", "star", 1)
DRAWINGS = [A, B, drawing("green", "triangle", 2), drawing("yellow", "square", 3)]


def conversations(n: int) -> list[Any]:
    return [[user(DRAWINGS[i % 4], f"describe the image. ({i})")] for i in range(n)]


def make_model(base_url: str, **changes: Any) -> ServerModel:
    arguments: dict[str, Any] = {
        "base_url": base_url,
        "model": "m",
        "revision": "r1",
        "api_key_env": None,
        "headers": {},
        "answers": "generated",
        "parameters": {"temperature": 0.0},
        "fields": {},
        "image": AS_THEY_ARE,
        "votes": 1,
        "thinking_tokens": 0,
        "max_form_tokens": 160,
        "top_logprobs": 20,
        "min_choice_mass": 0.5,
        "max_open": 0.1,
        "timeout": 20.0,
        "concurrency": 4,
        "retries": 2,
        "first_wait": 0.01,
        "max_wait": 5.0,
        "breaker": 3,
        "max_reply_bytes": 1_000_000,
        "key_over_http": False,
        "check_at_start": False,
        "cache_dir": None,
        "cache_mb": 100.0,
        "record_dir": None,
        "replay_dir": None,
    }
    return ServerModel(**{**arguments, **changes})


@cache
def of_the_embedded_judge() -> dict[str, Any]:
    """How the embedded judge is asked."""
    return {key: value for key, value in configure(["experiment=t2i_rpo"]).judge.items() if key not in ("_target_", "model")}


def make_judge(model: Any, **changes: Any) -> VLMJudge:
    return VLMJudge(model=model, **{**of_the_embedded_judge(), **changes})


def compare(base_url: str, **changes: Any) -> Verdict:
    """The verdict on one pair by a rubric, without descriptions: two requests where nothing goes wrong."""
    model = make_model(base_url, concurrency=1, **changes)
    [judged] = make_judge(model, describe=False).compare([PROMPT], [(A, B)], [RUBRIC])
    return judged


def reply_to(form: Form, *choices: str) -> str:
    """The form as a model would write it."""
    left = list(choices)
    return "".join(piece if isinstance(piece, str) else left.pop(0) for piece in pieces(form))


# Two criteria: A meets both, B neither; two are met by A, none by B; A is better. And the same seen in the other order.
A_WINS = reply_to(FORM, "yes", "no", "yes", "no", "2", "0", "A")
B_WINS = reply_to(FORM, "no", "yes", "no", "yes", "0", "2", "B")


def in_turn(*replies: str | Response) -> Answer:
    made = [r if isinstance(r, Response) else completion(r) for r in replies]
    return lambda number, path, body: made[number % len(made)]
