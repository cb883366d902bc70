"""Make tests/data/pretrained: small random checkpoints of each variant, and beside each what PyTorch computes from it in float64.

    pip install torch transformers && python tests/make_pretrained_data.py [DIRECTORY]

A variant is a directory with config.json, model.safetensors (or shards) and oracle.safetensors: ids and masks, logits, log-probabilities
(of a model without a head: hidden states), and the gradient of Σ upstream · output by every parameter.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

from minillm.pretrained.safetensors import write_safetensors

GPT2 = {"vocab_size": 17, "n_positions": 9, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_inner": 12}
BERT = {"vocab_size": 17, "max_position_embeddings": 9, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 12, "type_vocab_size": 2}  # fmt: skip
LLAMA = {"vocab_size": 17, "max_position_embeddings": 9, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu"}  # fmt: skip
NARROW = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 6, "rms_norm_eps": 1e-3}
VARIANTS = {
    "gpt2-gelu-new": ("GPT2LMHeadModel", GPT2, {}),
    "gpt2-gelu-untied-shards": (
        "GPT2LMHeadModel", GPT2, {"activation_function": "gelu", "tie_word_embeddings": False, "layer_norm_epsilon": 1e-3},
    ),
    "gpt2-relu-unscaled-old": ("GPT2LMHeadModel", GPT2, {"activation_function": "relu", "scale_attn_weights": False}),
    "gpt2-silu-inverse-bf16": ("GPT2LMHeadModel", GPT2, {"activation_function": "silu", "scale_attn_by_inverse_layer_idx": True}),
    "gpt2-wide-f16": (
        "GPT2LMHeadModel", GPT2, {"n_inner": None, "scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True},
    ),
    "bert-gelu": ("BertForMaskedLM", BERT, {}),
    "bert-relu-untied-old": ("BertForMaskedLM", BERT, {"hidden_act": "relu", "tie_word_embeddings": False, "layer_norm_eps": 1e-3}),
    "llama-grouped": ("LlamaForCausalLM", LLAMA, {"tie_word_embeddings": True, "rope_theta": 50.0}),
    "llama-multiquery-untied-shards": ("LlamaForCausalLM", LLAMA, NARROW),
    "llama-full-bf16": ("LlamaForCausalLM", LLAMA, {"num_key_value_heads": 4, "tie_word_embeddings": True}),
    "bert-headless": ("BertModel", BERT, {"hidden_act": "gelu_new", "type_vocab_size": 1}),
}  # fmt: skip


class Widened:
    """The module torch in which float32 is float64."""

    def __getattr__(self, name):
        return getattr(torch, {"float32": "float64", "float": "float64"}.get(name, name))


def random_model(architecture, options, rng, narrow):
    """A model in float64 whose parameters, gains and biases too, are drawn from ``rng`` and lie on the grid of a narrower dtype."""
    cls = getattr(transformers, architecture)
    transformers.models.llama.modeling_llama.torch = Widened()  # its norms, angles and softmax go through float32 in a float64 model, too
    model = cls(cls.config_class(**options, attn_implementation="eager")).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.tensor(rng.normal(0.0, 0.4, tuple(parameter.shape)))
            parameter.copy_(values.to(narrow).double())
    return model


def inputs(model, rng):
    """Token ids, and for BERT a padded row and token types. PyTorch leaves the padding id out of BERT's gradient: none is used."""
    bert = model.config.model_type == "bert"
    ids = rng.integers(1 if bert else 0, model.config.vocab_size, (2, 7))
    if not bert:
        return {"input_ids": ids}
    mask = np.ones_like(ids)
    mask[1, 4:] = 0
    types = np.where(np.arange(7) < 3, 0, model.config.type_vocab_size - 1) * np.ones_like(ids)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def evaluate(model, given, upstream):
    """What the framework computes: outputs, and the gradient of each parameter."""
    model.zero_grad()
    output = model(**{name: torch.tensor(value) for name, value in given.items()})
    headless = "logits" not in output
    y = output.last_hidden_state if headless else torch.log_softmax(output.logits, dim=-1)
    (y * torch.tensor(upstream)).sum().backward()
    found = {"hidden": y} if headless else {"logits": output.logits, "log_probs": y}
    found |= {f"gradient.{name}": parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {name: tensor.detach().numpy() for name, tensor in found.items()}


def old_names(tensors):
    """The names and buffers of checkpoints before 2020."""
    renamed = {}
    for name, array in tensors.items():
        name = name.removeprefix("transformer.").replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        renamed[name] = array
        if name.endswith("attn.c_attn.weight"):
            stem = name.removesuffix("c_attn.weight")
            renamed[stem + "bias"] = np.tri(9, dtype=np.uint8)[None, None]
            renamed[stem + "masked_bias"] = np.array(-1e4, np.float32)
    if any(name.startswith("bert.") for name in renamed):
        renamed["bert.embeddings.position_ids"] = np.arange(9)[None]
        renamed["cls.seq_relationship.weight"] = np.ones((2, 8), np.float32)
    return renamed


def write_weights(directory, name, model):
    """model.safetensors in the layout that the variant's name asks for."""
    state = {key: tensor.detach().float().numpy() for key, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings and name != "gpt2-wide-f16":  # there the tied head is in the file too
        state = {key: a for key, a in state.items() if key not in ("lm_head.weight", "cls.predictions.decoder.weight")}
        state.pop("cls.predictions.decoder.bias", None)
    if name.endswith("old"):
        state = old_names(state)
    if name.endswith("shards"):
        keys = sorted(state)
        shards = {f"model-{i + 1:05}-of-00002.safetensors": keys[i::2] for i in range(2)}
        for file, part in shards.items():
            write_safetensors(directory / file, {key: state[key] for key in part}, {"format": "pt"})
        places = {key: file for file, part in shards.items() for key in part}
        index = {"metadata": {"total_size": sum(a.nbytes for a in state.values())}, "weight_map": places}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    elif name.endswith("bf16"):
        import safetensors.torch

        narrow = {key: torch.tensor(a).bfloat16() for key, a in state.items()}
        safetensors.torch.save_file(narrow, directory / "model.safetensors", {"format": "pt"})
    else:
        dtype = np.float16 if name.endswith("f16") else None
        write_safetensors(directory / "model.safetensors", {k: a.astype(dtype or a.dtype) for k, a in state.items()}, {"format": "pt"})


def make(name, root):
    """Write one variant."""
    architecture, sizes, options = VARIANTS[name]
    rng = np.random.default_rng([7, *name.encode()])
    narrow = {"bf16": torch.bfloat16, "f16": torch.float16}.get(name.rsplit("-", 1)[-1], torch.float32)
    model = random_model(architecture, sizes | options, rng, narrow)
    directory = root / name
    directory.mkdir(parents=True, exist_ok=True)
    config = model.config.to_diff_dict() | sizes | options | {"architectures": [architecture]}
    config = {key: value for key, value in config.items() if key not in ("dtype", "transformers_version")}
    (directory / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    write_weights(directory, name, model)
    given = inputs(model, rng)
    width = model.config.hidden_size if architecture == "BertModel" else model.config.vocab_size
    upstream = rng.normal(size=(2, 7, width))
    write_safetensors(directory / "oracle.safetensors", {**given, "upstream": upstream, **evaluate(model, given, upstream)})


if __name__ == "__main__":
    for variant in VARIANTS:
        make(variant, Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data" / "pretrained")
