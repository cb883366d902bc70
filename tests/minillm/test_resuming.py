import json
import os

import pytest

from minillm.errors import RunDirectoryError
from minillm.resuming import Metrics, read_config, require_agreement


def test_what_contradicts_is_named_with_both_values(tmp_path):
    saved = {"n_layer": 4, "lr": 1e-3}
    require_agreement(saved, {}, tmp_path)
    require_agreement(saved, {"n_layer": 4}, tmp_path)
    with pytest.raises(RunDirectoryError, match=r"lr is 0\.001 in .*config\.json, which 0\.01 contradicts"):
        require_agreement(saved, {"n_layer": 4, "lr": 1e-2}, tmp_path)
    with pytest.raises(RunDirectoryError, match="does not say seed"):
        require_agreement(saved, {"seed": 0}, tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_a_damaged_configuration_is_an_error(tmp_path, damage):
    (tmp_path / "config.json").write_bytes(damage)
    with pytest.raises(RunDirectoryError, match=r"config\.json is damaged"):
        read_config(tmp_path)


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(RunDirectoryError, match="no run to go on with"):
        read_config(tmp_path)


LINES = [json.dumps({"step": step, "loss": 1.5}) + "\n" for step in (1, 2, 2, 3, 4)]


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("tail", ["", '{"step": 1', "garbage\n", "[]\n", '{"loss": 1}\n'])
def test_lines_of_later_steps_and_what_is_damaged_are_cut_off(tmp_path, step, tail):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(LINES) + tail)
    with Metrics(path, step) as metrics:
        metrics.write({"step": 9})
    kept = [line for line in LINES if json.loads(line)["step"] <= step]
    assert path.read_text() == "".join([*kept, '{"step": 9}\n'])


def test_the_first_time_there_is_no_file(tmp_path):
    with Metrics(tmp_path / "metrics.jsonl", 0) as metrics:
        metrics.write({"step": 1})
        metrics.sync()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_a_full_disk_is_an_error_of_one_line(tmp_path, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    with Metrics(tmp_path / "metrics.jsonl", 0) as metrics:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RunDirectoryError, match=r"cannot write .*metrics\.jsonl: No space left on device"):
            metrics.sync()
