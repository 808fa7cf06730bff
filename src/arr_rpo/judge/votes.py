"""One answer from several: the same question asked again, at a temperature."""

from __future__ import annotations

from collections.abc import Sequence

from arr_rpo.judge.forms import NoAnswer, Slots


def mean(ballots: Sequence[Slots | NoAnswer]) -> Slots | NoAnswer:
    """The mean of each slot over the ballots that are answers; the first reason where none is."""
    valid = [slots for slots in ballots if not isinstance(slots, NoAnswer)]
    if not valid:
        return next(reason for reason in ballots if isinstance(reason, NoAnswer))
    return [
        {choice: sum(slot[choice] for slot in slots) / len(slots) for choice in slots[0]} for slots in zip(*valid, strict=True)
    ]
