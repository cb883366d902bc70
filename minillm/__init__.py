"""An LLM agent in pure NumPy: a transformer with manual backprop that learns by reinforcement."""

__version__ = "0.1.0"
