"""Tiny Qwen-Image-Edit, the first one: its one source image is shown to the text encoder as large as to the transformer."""

from __future__ import annotations

from pathlib import Path

from diffusers import QwenImageEditPipeline

from tests.policy.twins.base import Twin
from tests.policy.twins.qwen import OVERRIDES, save_editing


def small(target_area: int, ratio: float) -> tuple[int, int, None]:
    """In place of the pipeline's choice of a size, which is always about a megapixel."""
    return 32, 32, None


def qwen_image_edit(folder: Path) -> None:
    """Saves a tiny `QwenImageEditPipeline` to `folder`."""
    save_editing(QwenImageEditPipeline, folder)


TWINS = {
    "qwen_image_edit": Twin(
        build=qwen_image_edit,
        overrides=OVERRIDES,
        source=True,
        patches={
            "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit.calculate_dimensions": small,
        },
    )
}
