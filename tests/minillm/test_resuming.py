import pytest

from minillm.errors import RunDirectoryError
from minillm.resuming import read_config, require_agreement


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
