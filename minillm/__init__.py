"""An LLM agent in pure NumPy: a transformer with manual backprop that learns by reinforcement."""

from minillm.agent import LLMAgent, interact
from minillm.config import GPTConfig
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT

__version__ = "0.1.0"
__all__ = ["GPT", "CharTokenizer", "GPTConfig", "LLMAgent", "interact"]
