"""Parts of a config in a few words, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def class_of(part: Any) -> str:
    """The class that a part names, without its module; empty of one that names none."""
    return str(part.get("_target_", "")).rpartition(".")[2] if isinstance(part, Mapping) else ""


def reward_of(reward: Any) -> str:
    """Of a reward the protocol of judging, the function or scorer, or the parts: "rubric (Compare) + score (my.brightness)"."""
    if not isinstance(reward, Mapping):
        return ""
    if parts := reward.get("parts"):
        return " + ".join(f"{name} ({reward_of(part.get('reward'))})" for name, part in parts.items())
    score = reward.get("score")
    if isinstance(score, Mapping) and score.get("function"):
        score = score["function"]
    return score if isinstance(score, str) else class_of(score or reward.get("protocol") or reward)
