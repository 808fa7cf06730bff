"""How far a reward can be trusted before anything is trained: of n pictures of a prompt the one that it puts first, measured by
something else. Where a measure falls as n grows, the reward is over-optimised by choosing alone (Gao et al. 2022,
arXiv 2210.10760, whose KL of the best of n this is)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from arr_rpo.evaluation.bootstrap import Figure, Resampling, share
from arr_rpo.measure.base import Measure
from arr_rpo.reward.joining import of_pictures
from arr_rpo.types import Painter, Prompt, Rewards, Rollout, UserError

Floats = NDArray[np.float64]
PICTURE, LINE, MARGIN, LETTER = 128, 14, 8, 6.5
Judged = Callable[[Rollout], Rewards]


def expected_best(n: int, score_N: Floats, value_N: Floats) -> float:
    """Mean value of the one that the score puts first among n drawn without replacement from N; equal ones are taken alike.

    Of the picture with k others below it, the share of the draws in which it is first is C(k, n - 1) / C(N, n).
    """
    order = np.argsort(score_N, kind="stable")
    chances = np.empty(len(score_N))
    chances[order] = [math.comb(k, n - 1) / math.comb(len(score_N), n) for k in range(len(score_N))]
    for one in np.unique(score_N):  # whoever is first of equals
        chances[score_N == one] = chances[score_N == one].mean()
    return float(chances @ value_N)


def put_below(score_N: Floats) -> Floats:
    """(N,) the share of the others and itself that is scored below each, equal ones by half: 0.5 in the mean."""
    below = (score_N[:, None] > score_N).mean(1) + (score_N[:, None] == score_N).mean(1) / 2
    return np.asarray(below)


@dataclass(frozen=True)
class Graded:
    """N pictures of one prompt. proxy_N: by the reward, NaN where it has none. gold_N: by each measure, the same. kept: what a
    page shows of them, by a name."""

    prompt: Prompt
    proxy_N: Floats
    gold_N: Mapping[str, Floats]
    kept: Mapping[str, tuple[int, Image.Image]]

    @property
    def whole(self) -> bool:
        """Whether each picture has a reward."""
        return not np.isnan(self.proxy_N).any()

    def to_dict(self) -> dict[str, Any]:
        gold = {name: _plain(values) for name, values in self.gold_N.items()}
        return {"prompt_id": self.prompt.id, "prompt": self.prompt.text, "reward": _plain(self.proxy_N), "measures": gold}


def graded(
    policy: Painter,
    judged: Judged,
    measures: Mapping[str, Measure],
    prompts: Sequence[Prompt],
    pictures: int,
    seed: int,
    shown: Collection[str] = (),
) -> list[Graded]:
    """Draws `pictures` of each prompt, and has all of them graded and measured. A measure against pictures of before training
    is given the first one of the prompt in their place. shown: ids of the prompts of which pictures are kept."""
    each = [prompt for prompt in prompts for _ in range(pictures)]
    images = policy.generate(each, seed, [(prompt.id, k % pictures) for k, prompt in enumerate(each)])
    rewards = judged(of_pictures(prompts, pictures, images))
    proxy = np.where(rewards.valid_B.numpy(), rewards.values_B.double().numpy(), math.nan).reshape(-1, pictures)
    first = [images[k - k % pictures] for k in range(len(images))]
    said = {name: one.values(each, images, first if one.against_base else None) for name, one in measures.items()}
    gold = {
        name: np.array([math.nan if one.value is None else one.value for one in values]).reshape(-1, pictures)
        for name, values in said.items()
    }
    found = []
    for row, prompt in enumerate(prompts):
        own = {name: values[row] for name, values in gold.items()}
        chosen = {"first": 0, "by the reward": _best(proxy[row]), **{f"by {name}": _best(one) for name, one in own.items()}}
        kept = {name: (k, images[row * pictures + k]) for name, k in chosen.items() if k is not None and prompt.id in shown}
        found.append(Graded(prompt, proxy[row], own, kept))
    return found


def _plain(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _best(values: Floats) -> int | None:
    return None if np.isnan(values).all() else int(np.nanargmax(values))


def figures(found: Sequence[Graded], how: Resampling) -> dict[str, Any]:
    """rows: for n = 1, 2, 4, ... the KL from the policy in nats, `proxy`, the share of a prompt's pictures that the reward puts
    below the one it puts first, and of each measure the mean over prompts of what that one is worth, over all choices of n.
    last_doubling: how much of it the last doubling of n brought; where its interval lies below 0 the reward is over-optimised.
    most: the mean of what is best by the measure itself. tied: share of the prompts of which several pictures are first by the
    reward. without_reward: prompts of which a picture has no reward, left out of
    all; without: those of which a picture has no value of a measure, left out of its means.

    Raises:
        UserError: no prompt has a reward of all its pictures.
    """
    known = [one for one in found if one.whole]
    if not known:
        raise UserError("no prompt had all of its pictures graded: `python evaluate.py task=judge` says what the judge can do")
    pictures = len(known[0].proxy_N)
    ns = [2**k for k in range(int(math.log2(pictures)) + 1)]
    measured = {name: [one for one in known if not np.isnan(one.gold_N[name]).any()] for name in known[0].gold_N}

    def worth(name: str, n: int) -> list[float]:
        return [expected_best(n, one.proxy_N, one.gold_N[name]) for one in measured[name]]

    def mean(name: str, values: Sequence[float]) -> dict[str, Any]:
        return asdict(_mean(values, measured[name], how))

    rows = []
    for n in ns:
        proxy = float(np.mean([expected_best(n, one.proxy_N, put_below(one.proxy_N)) for one in known]))
        worths = {name: mean(name, worth(name, n)) for name in measured}
        rows.append({"n": n, "kl": math.log(n) - (n - 1) / n, "proxy": proxy, "measures": worths})
    doubled = {
        name: mean(name, [b - a for a, b in zip(worth(name, ns[-2]), worth(name, ns[-1]), strict=True)])
        for name in (measured if len(ns) > 1 else ())
    }
    return {
        "prompts": len(found),
        "pictures": pictures,
        "tied": float(np.mean([(one.proxy_N == one.proxy_N.max()).sum() > 1 for one in known])),
        "without_reward": len(found) - len(known),
        "without": {name: len(known) - len(some) for name, some in measured.items()},
        "rows": rows,
        "last_doubling": doubled,
        "most": {name: mean(name, [float(one.gold_N[name].max()) for one in some]) for name, some in measured.items()},
    }


def _mean(values: Sequence[float], of: Sequence[Graded], how: Resampling) -> Figure:
    return share(values, [1.0] * len(values), [one.prompt.id for one in of], how)


def sheet(found: Sequence[Graded]) -> Image.Image:
    """A row a prompt with pictures: its first picture, the one that the reward puts first, and the best by each measure, with
    what all say of each, and its source if it is an edit."""
    found = [one for one in found if one.kept]
    names = list(dict.fromkeys(name for one in found for name in one.kept))
    edits = [one.prompt.source is not None for one in found]
    lines = 1 + len(found[0].gold_N)
    width, height = PICTURE + 8 * MARGIN, PICTURE + (lines + 2) * LINE + MARGIN
    wide = MARGIN + max((len(names) + any(edits)) * width, int(100 * LETTER))
    page = Image.new("RGB", (wide, height * len(found)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for row, one in enumerate(found):
        top = row * height
        pen.text((MARGIN, top), one.prompt.text[:100], fill="black", font=font)
        if one.prompt.source is not None:
            pen.text((MARGIN + len(names) * width, top + LINE), "source", fill="black", font=font)
            page.paste(_small(one.prompt.source), (MARGIN + len(names) * width, top + 2 * LINE))
        for column, name in enumerate(names):
            if name not in one.kept:
                continue
            k, picture = one.kept[name]
            left = MARGIN + column * width
            pen.text((left, top + LINE), name, fill="green" if name == "by the reward" else "black", font=font)
            page.paste(_small(picture), (left, top + 2 * LINE))
            said = {"reward": one.proxy_N[k], **{measure: values[k] for measure, values in one.gold_N.items()}}
            for line, (who, value) in enumerate(said.items()):
                words = f"{who}: {'none' if math.isnan(value) else f'{value:.2f}'}"
                pen.text((left, top + 2 * LINE + PICTURE + line * LINE), words, fill="black", font=font)
    return page


def _small(picture: Image.Image) -> Image.Image:
    """In its own proportions; what is smaller is enlarged to the pixel."""
    whole = picture.convert("RGB")
    scale = PICTURE / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    return whole.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
