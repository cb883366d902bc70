"""What decoding, agents, scoring and training ask of a language model; :class:`minillm.GPT` and :class:`minillm.Llama` are two.

A model is a configuration, a parameter vector, and two functions: ids → logits, and ∂L/∂logits → ∂L/∂θ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

from minillm.errors import UserError
from minillm.parameters import Parameters

if TYPE_CHECKING:
    from minillm.kv_cache import KeyValueCache


SMALL_VOCABULARY = 512


class ModelConfig(Protocol):
    """What is asked of a configuration.

    Attributes
    ----------
    vocab_size : int
        V, the number of token ids.
    n_positions : int
        The longest context, in tokens.
    value_head : bool
        Whether :meth:`LanguageModel.values` is there.
    key_value_shape : (int, int, int)
        Of what a key/value cache holds for one position: layers, heads, width of a head.
    """

    @property
    def vocab_size(self) -> int: ...
    @property
    def n_positions(self) -> int: ...
    @property
    def value_head(self) -> bool: ...
    @property
    def key_value_shape(self) -> tuple[int, int, int]: ...
    def shapes(self) -> dict[str, tuple[int, ...]]: ...


class Context(NamedTuple):
    """Where tokens stand: ``ids`` (B, T), ``positions`` (B, T), or (1, T) if all rows have the same, and what each may see.

    ``visible`` is None where a token sees those before it and itself.
    """

    ids: np.ndarray
    positions: np.ndarray
    visible: np.ndarray | None


class LanguageModel:
    """The base of the models; a subclass computes :meth:`forward` and :meth:`backward`."""

    config: Any  # a ModelConfig
    parameters: Parameters

    @classmethod
    def from_vector(cls, config: Any, vector: np.ndarray) -> Self:
        """Return a model over the parameter vector θ (viewed, not copied); see :class:`Parameters` for its layout."""
        model = cls.__new__(cls)
        model.config = config
        model.parameters = Parameters(config.shapes(), vector)
        return model

    def astype(self, dtype: np.dtype | type) -> Self:
        """Return a copy whose parameters have another dtype; the copy computes in that dtype."""
        return self.from_vector(self.config, self.parameters.vector.astype(dtype))

    def forward(
        self,
        ids: np.ndarray,
        *,
        at: np.ndarray | None = None,
        positions: np.ndarray | None = None,
        visible: np.ndarray | None = None,
        past: KeyValueCache | None = None,
        keep: bool = True,
        rng: Any = None,
    ) -> tuple[np.ndarray, tuple]:
        r"""Return the logits $z_{btv}$ of the token that follows position t.

        Parameters
        ----------
        ids : integer array of shape (B, T) or (T,)
            T at most ``n_positions``. Rows of different lengths are padded on the right with any id: a causal model
            does not look there.
        at : integer array of shape (B, n), optional
            Columns of ``ids`` whose logits are wanted; all when None. The last block then works on these positions alone
            (its keys and values still come from all): most of a prompt's cost where only the action is scored.
        positions : integer array of shape (B, T), optional
            Position of each token; 0 … T − 1 when None.
        visible : bool array that broadcasts to (B, 1, T, T), optional
            Which tokens (last axis) each token may see; those before it and itself when None.
        past : KeyValueCache, optional
            Keys and values of earlier tokens. ``ids`` then go on from ``past.lengths``; their keys and values are
            written into it, the lengths are left to the caller.
        keep : bool
            Whether what the backward needs is kept.
        rng : seed or numpy.random.Generator, optional
            Source of dropout's masks. None, as in evaluation: no dropout, whatever the configuration says.

        Returns
        -------
        logits : ndarray of shape (B, T, V), or (T, V) for one sequence; (B, n, V) with ``at``
        cache : tuple for :meth:`backward`; empty when ``keep`` is false

        Raises
        ------
        UserError
            If there are more than ``n_positions`` tokens, an id is outside of the vocabulary (naming its position), or ``at``
            is outside of the columns.
        """
        raise NotImplementedError

    def backward(
        self, dlogits: np.ndarray, cache: tuple, dvalues: np.ndarray | None = None, *, use_up: bool = False
    ) -> np.ndarray:
        r"""Return $\partial L/\partial\theta$ as one vector, from $\partial L/\partial z$.

        Parameters
        ----------
        dlogits : ndarray of the shape of the logits
        cache : tuple
            What :meth:`forward` returned with the logits.
        dvalues : ndarray of the shape of :meth:`values`, optional
            $\partial L/\partial V$; zero when None.
        use_up : bool
            Whether the cache may be taken apart: the memory of each block is then free as soon as its backward is done, and the
            cache serves only once.

        Returns
        -------
        gradient : ndarray of shape (P,), in the layout of ``parameters.vector``
        """
        raise NotImplementedError

    def values(self, cache: tuple) -> np.ndarray:
        r"""Return the value V of each position of the logits: their shape without the vocabulary's axis.

        Parameters
        ----------
        cache : tuple
            What :meth:`forward` returned with the logits.

        Raises
        ------
        UserError
            If the model has no value head.
        """
        raise UserError("the model has no value head; make a GPT with GPTConfig(value_head=True)")

    def token_step(self, past: KeyValueCache) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function that reads one more token of each row, shape (B,), into ``past`` and returns the logits (B, V) after it.

        It is made once for many tokens. The next call may overwrite the logits; while it is in use nobody else may change the parameters or
        ``past``, which must have room for each token. Call it under ``np.errstate(over="ignore")``: an exponential may become infinite.
        """

        def step(tokens: np.ndarray) -> np.ndarray:
            logits, _ = self.forward(tokens[:, None], past=past, keep=False)
            past.lengths += 1
            return logits[:, 0]

        return step

    def generate(self, ids: Any, **options: Any) -> Any:
        """Continue each sequence of token ids; see :func:`minillm.decoding.generate` for the options."""
        from minillm.decoding import generate  # decoding stands on the models, not the other way round

        return generate(self, ids, **options)

    def _context(
        self,
        ids: np.ndarray,
        at: np.ndarray | None,
        positions: np.ndarray | None,
        visible: np.ndarray | None,
        past: KeyValueCache | None,
    ) -> Context:
        """The arguments of :meth:`forward`, checked, and as ``past`` makes them; the ids are written into it."""
        ids = self._checked(np.atleast_2d(ids), at, positions, past)
        T = ids.shape[1]
        if past is not None:
            positions, visible = past.append(ids)
        return Context(ids, np.atleast_2d(np.arange(T) if positions is None else positions), visible)

    def _checked(
        self, ids: np.ndarray, at: np.ndarray | None, positions: np.ndarray | None, past: KeyValueCache | None
    ) -> np.ndarray:
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise UserError(f"ids must be integers of shape (B, T) or (T,), got {ids.dtype} of shape {ids.shape}")
        if at is not None and (at.min(initial=0) < 0 or at.max(initial=0) >= ids.shape[1]):
            raise UserError(f"at must hold columns from 0 to {ids.shape[1] - 1}, got {at.min()} to {at.max()}")
        length = ids.shape[1] + (0 if past is None else int(past.lengths.max(initial=0)))
        if positions is not None:
            length = int(positions.max(initial=-1)) + 1
        if length > self.config.n_positions:
            raise UserError(f"{length} tokens do not fit into n_positions = {self.config.n_positions}")
        if ids.min(initial=0) < 0 or ids.max(initial=0) >= self.config.vocab_size:
            row, column = np.argwhere((ids < 0) | (ids >= self.config.vocab_size))[0]
            raise UserError(
                f"id {ids[row, column]} at row {row}, position {column} is outside of vocab_size = {self.config.vocab_size}"
            )
        return ids


def next_token_logits(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    r"""Return $z = yW^\top$ (N, V) of the last states y (N, C) and the head W (V, C), in memory as :func:`long_columns` says."""
    return np.dot(weight, y.T).T if long_columns(len(y), len(weight)) else np.dot(y, weight.T)


def long_columns(tokens: int, vocabulary: int) -> bool:
    """Whether the columns of logits (N, V) lie in one piece, not the rows: what a softmax does to each row of a small vocabulary is
    then done to few long columns."""
    return vocabulary < min(tokens, SMALL_VOCABULARY)
