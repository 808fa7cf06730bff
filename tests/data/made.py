"""Prompt files as tests make and read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from arr_rpo.data.prompts import Prompts, Reading

RED, BLUE = (255, 0, 0), (0, 0, 255)


def how(columns: dict[str, str | None] | None = None, **more: Any) -> Reading:
    return Reading(
        **{
            "columns": {"prompt": "auto", "source": "auto", **(columns or {})},
            "image_root": None,
            "min_side": 16,
            "max_side": 64,
            **more,
        }
    )


def of_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def texts(prompts: Prompts) -> list[str]:
    return [prompt.text for prompt in prompts]
