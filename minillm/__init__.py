"""An LLM agent in pure NumPy: a transformer with manual backprop that learns by reinforcement."""

from minillm.agent import LLMAgent, interact
from minillm.bert import BERT
from minillm.bert_config import BERTConfig
from minillm.config import GPTConfig
from minillm.llama import Llama
from minillm.llama_config import LlamaConfig
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT

__version__ = "0.1.0"
__all__ = ["BERT", "GPT", "BERTConfig", "CharTokenizer", "GPTConfig", "LLMAgent", "Llama", "LlamaConfig", "interact"]
