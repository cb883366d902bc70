# %% [markdown]
# # A language model
#
# Text becomes numbers: the tokenizer gives each character an id. The model gives, at each position, a probability for what comes
# next, $p(x_{t+1}\mid x_{\le t})$. The loss is the mean of $-\log p$ of what really came: `cross_entropy`, in nats a character.

# %%
import numpy as np

from minillm import GPT, CharTokenizer, GPTConfig
from minillm.objectives import cross_entropy
from minillm.optimizers import AdamW

text = "the cat sat on the mat. the rat sat on the cat. "
tokenizer = CharTokenizer.from_texts([text])
ids = np.array(tokenizer.encode(text), dtype=np.int64)
print(len(text), "characters,", tokenizer.vocab_size, "ids; the first are", ids[:8], repr(text[:8]))

config = GPTConfig(tokenizer.vocab_size, n_positions=len(ids), n_embd=24, n_layer=2, n_head=2)
model = GPT(config, rng=0)
print(model.parameters.vector.size, "parameters in one vector; a view:", model.parameters["h.0.attn.c_attn.weight"].shape)

# %% [markdown]
# A gradient is a forward, an objective, a backward. An untrained model knows nothing, so its loss is near $\log V$.

# %%
logits, cache = model.forward(ids[None, :-1])
loss, dlogits = cross_entropy(logits, ids[None, 1:])
gradient = model.backward(dlogits, cache)
print(f"loss {loss:.4f}, log V {np.log(tokenizer.vocab_size):.4f}, |gradient| {np.linalg.norm(gradient):.4f}")

# %% [markdown]
# **It cannot look ahead.** Each token attends to those before it alone: changing the last one changes no earlier logit.

# %%
other = ids[:-1].copy()
other[-1] = ids[0]
print("change of earlier logits:", np.abs(model.forward(other[None])[0][0, :-1] - logits[0, :-1]).max())

# %% [markdown]
# **Training** is a loop of three lines. It can learn this one text by heart; the loss then is near 0.

# %%
optimizer = AdamW(model.parameters, lr=5e-3, weight_decay=0.0)
for step in range(121):
    logits, cache = model.forward(ids[None, :-1])
    loss, dlogits = cross_entropy(logits, ids[None, 1:])
    optimizer.step(model.backward(dlogits, cache))
    if step % 40 == 0:
        print(f"step {step:3}  loss {loss:.4f}")

# %% [markdown]
# **Writing** is drawing the next character from $p$, and reading it, again and again.

# %%
prompt = np.array(tokenizer.encode("the "), dtype=np.int64)
written = model.generate(prompt, max_new_tokens=40, do_sample=True, temperature=0.7, rng=0)
print(repr(tokenizer.decode(written)))
