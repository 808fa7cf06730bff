"""What is answered before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "diffusers", "transformers", "pytorch_lightning", "scipy", "matplotlib")


def test_help_and_misspelt_keys_need_no_heavy_library() -> None:
    code = f"import sys, arr_rpo.commands.train; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_misspelt_key_is_named() -> None:
    command = [sys.executable, "train.py", "polcy.batch_size=4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "polcy" in done.stderr
    assert "Traceback" not in done.stderr
