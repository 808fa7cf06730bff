"""What loggers get beside curves: the config, and verdicts with their pictures, each logger in the form that it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL.Image import Image
from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

PAIRS = "pairs"


@dataclass(frozen=True)
class Card:
    """A verdict: the pictures side by side with what was said of them, and the same words as text."""

    picture: Image
    text: str


def show(loggers: Iterable[Any], cards: Sequence[Card], sheet: Image, step: int) -> None:
    """Gives the verdicts of an update to each logger that can show pictures. sheet: all cards in one picture."""
    texts = "\n\n".join(f"```\n{card.text}\n```" for card in cards)
    for logger in loggers:
        match logger:
            case TensorBoardLogger():
                logger.experiment.add_image(PAIRS, np.asarray(sheet), step, dataformats="HWC")
                logger.experiment.add_text(PAIRS, texts, step)
            case WandbLogger():
                logger.log_image(PAIRS, [card.picture for card in cards], step=step, caption=[card.text for card in cards])
            case MLFlowLogger():
                logger.experiment.log_image(logger.run_id, sheet, key=PAIRS, step=step)
                logger.experiment.log_text(logger.run_id, texts, f"{PAIRS}/{step:05d}.md")


def describe(loggers: Iterable[Any], config: Mapping[str, Any]) -> None:
    """Gives the config to loggers that compare runs by it."""
    for logger in loggers:
        if isinstance(logger, WandbLogger | MLFlowLogger):
            logger.log_hyperparams(dict(config))


def close(loggers: Iterable[Any]) -> None:
    """Ends what would go on in this process: the next run of a sweep would be added to it."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
