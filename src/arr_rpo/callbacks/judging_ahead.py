"""Verdicts on groups that are drawn, while others are still being drawn: of a judge that answers elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from PIL.Image import Image

from arr_rpo.reward.joining import of_pictures, together
from arr_rpo.types import Prompt, Rewards, Rollout, Rubric

Judging = Callable[[Rollout, Sequence[Rubric | None]], Rewards]


class JudgingAhead:
    """Takes the pictures of one rollout as they come, and has whole groups judged, in their order, in a thread of its own.

    The rewards are those of judging the whole rollout at once, as groups are judged one without the other. What is kept
    meanwhile are pictures and verdicts, which the rollout and its rewards hold anyway.

    Args:
        reward: judges the candidates of some groups.
        prompts, rubrics: of the rollout.
    """

    def __init__(self, reward: Judging, prompts: Sequence[Prompt], rubrics: Sequence[Rubric | None], group_size: int) -> None:
        self._reward, self._prompts, self._rubrics, self._size = reward, tuple(prompts), rubrics, group_size
        self._images: list[Image] = []
        self._groups = 0  # that are being judged, or are
        self._parts: list[Future[Rewards]] = []
        self._thread = ThreadPoolExecutor(1, "judging")

    def drawn(self, images: Sequence[Image]) -> None:
        """The next candidates of the rollout."""
        self._images += images
        if (groups := len(self._images) // self._size) > self._groups:
            some = slice(self._groups, groups)
            self._groups = groups
            part = of_pictures(self._prompts[some], self._size, self._images[some.start * self._size : some.stop * self._size])
            self._parts.append(self._thread.submit(self._reward, part, self._rubrics[some]))

    def rewards(self) -> Rewards:
        """Of the whole rollout, once all is judged; raises what judging raised."""
        assert self._groups == len(self._prompts)
        try:
            return together([part.result() for part in self._parts], self._size)
        finally:
            self.drop()

    def drop(self, give_up: Callable[[], None] = lambda: None) -> None:
        """Judges nothing more, where an update is given up. give_up: ends what is being asked, which would be waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        give_up()
        while asking := [part for part in self._parts if not part.done()]:  # `wait` does not know of those that were cancelled
            wait(asking, timeout=0.2)
            give_up()  # between two questions there was nothing to give up
        self._thread.shutdown(wait=True)
