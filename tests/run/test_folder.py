"""The folder of a run, without a run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import Rows, State, by_update, update_of
from arr_rpo.types import UserError


def saved(folder: RunFolder, update: int, keep_every: int | None = None) -> None:
    folder.save_checkpoint(update, lambda path: (path / "state.ckpt").write_text(str(update)) and None, keep_every)


def test_what_came_after_the_checkpoint_is_cut_off(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.begin("a: 1\n", {"torch": "2"}, 0)
    for update in range(4):
        folder.add(Rows.METRICS, update, [{"loss": update}])
        folder.add(Rows.VERDICTS, update, [{"n": 1}, {"n": 2}])
        folder.picture(f"grids/update_{update:05d}.png", Image.new("RGB", (2, 2)))
        saved(folder, update + 1, keep_every=1)
    with (tmp_path / Rows.METRICS).open("a") as file:
        file.write('{"update": 1, "lo')  # a kill in the middle of a row
    folder.begin("a: 2\n", {"torch": "2"}, 2)
    assert [row["update"] for row in folder.rows(Rows.METRICS)] == [0, 1]
    assert (tmp_path / Rows.METRICS).read_text().count("\n") == 2
    assert [row["n"] for row in folder.rows(Rows.VERDICTS)] == [1, 2, 1, 2]
    assert sorted(path.name for path in (tmp_path / "grids").iterdir()) == ["update_00000.png", "update_00001.png"]
    assert list(folder.checkpoints()) == [1, 2]
    assert folder.state() == {"state": "running", "update": 2}


def test_the_last_the_best_and_each_nth_checkpoint_stay(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for update in range(1, 10):
        saved(folder, update, keep_every=4)
        if update == 3:
            folder.mark_best(3, 0.5, "strict")
    assert list(folder.checkpoints()) == [3, 4, 8, 9]
    assert folder.checkpoint() == folder.checkpoint(9) == tmp_path / "checkpoints/update_00009"
    assert folder.checkpoint("best").name == "update_00003"
    with pytest.raises(UserError, match="no checkpoint 'worst'; there are those after 3, 4, 8, 9 updates"):
        folder.checkpoint("worst")


def test_a_checkpoint_that_breaks_off_is_not_there(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    saved(folder, 1)

    def broken(path: Path) -> None:
        (path / "state.ckpt").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"No space left on device.*resume="):
        folder.save_checkpoint(2, broken, None)
    assert list(folder.checkpoints()) == [1]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["update_00001"]


def test_finished_is_what_was_said_last(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.json("summary.json", {"seed": 1})
    assert folder.summary() is None
    folder.say(State.FINISHED, 3)
    assert folder.summary() == {"seed": 1}
    folder.say(State.FAILED, error="why")
    assert folder.state() == {"state": "failed", "update": 3, "error": "why"}
    assert folder.summary() is None


def test_of_several_processes_one_writes(tmp_path: Path) -> None:
    other = RunFolder(tmp_path / "run", writes=False)
    other.begin("a: 1\n", {}, 0)
    other.add(Rows.METRICS, 0, [{"loss": 1.0}])
    other.picture("grids/update_00000.png", Image.new("RGB", (2, 2)))
    took_part: list[Path] = []
    other.save_checkpoint(1, took_part.append, None)  # the states of all processes are gathered in it
    assert took_part == [tmp_path / "run" / "checkpoints" / "update_00001"]
    assert not (tmp_path / "run").exists()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Path:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system")
    return disk


def test_a_full_disk_ends_in_one_message_and_loses_nothing(tiny_disk: Path) -> None:
    try:
        folder = RunFolder(tiny_disk / "run")
        folder.begin("a: 1\n", {}, 0)
        saved(folder, 1)
        with pytest.raises(UserError, match=r"metrics\.jsonl could not be written \(No space left on device\)"):
            for _ in range(100):
                folder.add(Rows.METRICS, 0, [{"text": "x" * 4000}])
        with pytest.raises(UserError, match=r"could not be written"):
            folder.save_checkpoint(2, lambda path: (path / "state.ckpt").write_text("x" * 60_000) and None, None)
        assert list(folder.checkpoints()) == [1]
        (tiny_disk / "run" / Rows.VERDICTS).unlink(missing_ok=True)
        (tiny_disk / "run" / Rows.METRICS).unlink()  # space is made
        folder.begin("a: 1\n", {}, 1)
        saved(folder, 2)
        assert json.loads((tiny_disk / "run/state.json").read_text())["state"] == "running"
    finally:
        subprocess.run(["umount", tiny_disk], check=False)


def test_who_goes_back_twice_still_begins(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for _ in range(3):
        folder.begin("", {}, 1)
        saved(folder, 1, keep_every=1)
        saved(folder, 4, keep_every=1)
    assert set(folder.checkpoints()) == {1, 4}
    assert (tmp_path / "checkpoints" / "abandoned_update_00004").is_dir()


def test_what_is_missing_is_no_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), RunFolder(tmp_path).whole("exports"):
        (tmp_path / "gone.png").read_bytes()


@pytest.mark.parametrize("update", [0, 40, 99_999, 100_000, 1_234_567])
def test_names_have_all_digits(update: int) -> None:
    assert update_of(by_update(update)) == update_of(f"{by_update(update)}_0_base.png") == update
    assert update_of("abandoned_" + by_update(update)) is None
