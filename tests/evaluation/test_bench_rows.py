"""The file of a bench's verdicts, which a killed run may leave with half a line."""

from __future__ import annotations

from pathlib import Path

from arr_rpo.evaluation.bench_rows import cut_half_line, file_of, read


def test_reading_changes_nothing_and_writing_begins_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    cut_half_line(path)  # nothing there
    assert not path.exists()
    path.write_bytes(b'{"id": "half')
    assert read(path) == {}
    assert path.read_bytes() == b'{"id": "half'
    cut_half_line(path)
    assert path.read_bytes() == b""
    path.write_bytes(b"whole\nhalf")
    cut_half_line(path)
    assert path.read_bytes() == b"whole\n"
    cut_half_line(path)
    assert path.read_bytes() == b"whole\n"
