"""Attention weights, a picture for each head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minillm.plots.figure import new_figure, write


def attention(path: Path, weights: Sequence[np.ndarray], labels: Sequence[str]) -> None:
    """Draw attention weights: a row of pictures for each layer, one for each head; queries go down, keys to the right.

    Parameters
    ----------
    path : Path
    weights : sequence of ndarrays of shape (H, T, T)
        One for each layer.
    labels : sequence of T strings

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    H, T = weights[0].shape[:2]
    figure = new_figure(2.6 * H, 2.6 * len(weights))
    for i, (axes, weight) in enumerate(zip(figure.subplots(len(weights), H, squeeze=False).ravel(), np.concatenate(weights), strict=True)):
        axes.imshow(weight, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(f"layer {i // H}, head {i % H}", fontsize=8)
        axes.set_xticks(range(T), labels, fontsize=5)
        axes.set_yticks(range(T), labels, fontsize=5)
    figure.supxlabel("keys: the tokens that are looked at", fontsize=8)
    figure.supylabel("queries: the tokens that look", fontsize=8)
    write(path, figure)
