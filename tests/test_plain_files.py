"""What looks like a file and is none, and YAML that would end the process or fill the memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arr_rpo.plain_files import decode_yaml, lines, only_plain, read_bytes, read_json


def test_what_is_no_file_is_named_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in (("fifo", "a FIFO"), ("zero", "a device"), (".", "a folder")):
        for read in (read_bytes, read_json, lambda path: list(lines(path))):
            with pytest.raises(OSError, match=f"it is {kind} where a file should be"):
                read(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "gone")


def test_links_to_files_are_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"x": 1}\n2', encoding="utf-8")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert list(lines(tmp_path / "b")) == [b'{"x": 1}\n', b"2"]
    only_plain(tmp_path)


def test_a_file_has_a_largest_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(ValueError, match="5 bytes, more than the 4"):
        read_bytes(tmp_path / "a", 4)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="more than the"):
        read_bytes(tmp_path / "sparse")


def test_a_line_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arr_rpo.plain_files.MOST_OF_A_LINE", 3)
    (tmp_path / "a").write_bytes(b"12\n123\n")
    with pytest.raises(ValueError, match="a line has more than 3 bytes"):
        list(lines(tmp_path / "a"))


def test_folders_are_looked_through(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/zero").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="a device"):
        only_plain(tmp_path / "a")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/all").symlink_to("/")
    with pytest.raises(OSError, match="a link to a folder"):
        only_plain(tmp_path / "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),  # libyaml's composer ends the process
        ("{a: " * 50_000, "nested too deeply"),
        ("a: &a [1]\nb: [*a, *a]", r"a reference \(\*a\)"),
        ("a: [1", "line 1"),
        ("a: !!python/object/apply:os.system [ls]", "python/object"),
        ("a: " + "9" * 5_000, "digits"),
    ],
)
def test_hostile_yaml(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_yaml(text)


def test_yaml() -> None:
    assert decode_yaml("a: [1, {b: x}]\nc:\n- d: null") == {"a": [1, {"b": "x"}], "c": [{"d": None}]}
