"""What a server judge replied stays when a start that came to no checkpoint is cleared."""

from __future__ import annotations

from pathlib import Path

from arr_rpo.commands.runs.stage import REPLIES, clear
from tests.conftest import configure


def test_replies_stay(tmp_path: Path) -> None:
    (tmp_path / REPLIES).mkdir()
    (tmp_path / REPLIES / "replies.sqlite").write_bytes(b"paid for")
    (tmp_path / "verdicts.jsonl").write_text("{}\n")
    (tmp_path / "images").mkdir()
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [REPLIES]
    assert (tmp_path / REPLIES / "replies.sqlite").read_bytes() == b"paid for"


def test_they_lie_there_by_default(tmp_path: Path) -> None:
    config = configure(["experiment=t2i_rpo", "judge=server", "judge.model.model=m", f"run_dir={tmp_path}"])
    assert Path(config.judge.model.cache_dir) == tmp_path / REPLIES
