import pytest

from minillm.plots import figure


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Where to draw to, and a list of what was drawn."""
    pytest.importorskip("matplotlib", reason="pictures need the extra 'plot'")
    figures, new = [], figure.new_figure

    def remember(*size):
        figures.append(new(*size))
        return figures[-1]

    for module in ("curves", "grids", "heads", "research"):
        monkeypatch.setattr(f"minillm.plots.{module}.new_figure", remember)
    return tmp_path / "x.png", figures
