"""No judge, for runs whose rewards are numbers of scorers."""

from __future__ import annotations

from typing import Any

from arr_rpo.types import UserError


class NoJudge:
    """Raises a UserError where it is asked anything."""

    name, revision = "none", ""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("account", "elsewhere"):
            raise AttributeError(name)
        raise UserError(f"the reward or the rubric asks a judge ({name}), and judge=none: name a judge, or take reward=score")
