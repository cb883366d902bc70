# %% [markdown]
# # The agent
#
# Put together: a language model reads the state as text, writes its action as text, and a world answers with a reward and the
# next state. A world is a table: states, what each action leads to, a text for each state. Here it is a corridor of five cells,
# in which `A` is to reach `G`. It is small enough to be solved exactly.

# %%
import itertools

import numpy as np

import envs
from envs.tables import tabulate
from minillm import GPT, CharTokenizer, GPTConfig, LLMAgent, interact
from minillm.optimizers import AdamW
from minillm.training import collect, fit, improve, uniform_policy

LENGTH, STEP = 5, {"left": -1, "right": 1}
starts = list(itertools.permutations(range(LENGTH), 2))  # (cell of A, cell of G)


def outcomes(state, action):
    agent = min(max(state[0] + STEP[action], 0), LENGTH - 1)
    return [(1.0, (agent, state[1]), 0.95 if agent == state[1] else -0.05)]


def text(state):
    return "".join("*" if (i, i) == state else "A" if i == state[0] else "G" if i == state[1] else "." for i in range(LENGTH))


mdp = tabulate(
    "corridor", start=dict.fromkeys(starts, 1 / len(starts)), actions=list(STEP), outcomes=outcomes, text=text, horizon=8,
    terminal=lambda state: state[0] == state[1], invalid_reward=-0.1,
)  # fmt: skip
tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts, "-0.195\n"])
model = GPT(GPTConfig(tokenizer.vocab_size, n_positions=24, n_embd=24, n_layer=1, n_head=2, initializer_range=0.1), rng=0)
agent = LLMAgent(model, tokenizer, max_new_tokens=6, rng=0)
world = envs.SimpleEnv(envs.TextEnv(mdp, seed=0))
print("state", world.get_state(), " actions", *mdp.action_texts, " untrained it writes", repr(agent.generate_action(world.get_state())))

# %% [markdown]
# **How good is it?** The expected sum of rewards $J$, exactly: the model gives the probability of every action in every state,
# the world's table does the rest.


# %%
def exact_J():
    policy = np.zeros((len(mdp.state_texts), len(mdp.action_texts)))
    policy[~mdp.terminal] = np.exp(agent.action_log_probs(mdp.state_texts[~mdp.terminal], mdp.action_texts))
    return float(mdp.value(policy))


best = mdp.solve().J
print(f"J {exact_J():.4f}, the best possible {best:.4f}")

# %% [markdown]
# **Collect** episodes with a uniformly random policy, and **fit** the model to them by maximum likelihood: it learns the language
# of this world, what an action looks like and what comes back. That alone is about as good as random play.

# %%
worlds = envs.VectorEnv(mdp, 128, seed=1, autoreset="disabled")
fit(model, tokenizer, collect(worlds, uniform_policy(tokenizer, mdp.action_texts, rng=1)), steps=100, batch_size=16, lr=1e-2, rng=2)
print(f"after fit: J {exact_J():.4f}; it writes", *(repr(agent.generate_action(world.get_state())) for _ in range(4)))

# %% [markdown]
# **Act** and **improve**: play with the model itself, weigh each action by the reward that came after it, less the mean in other
# episodes from the same state, and step along $\frac1N\sum(G_t - b)\,\nabla\log p(a_t\mid s_t)$.

# %%
optimizer = AdamW(model.parameters, lr=3e-3)
for update in range(32):
    improve(model, tokenizer, collect(worlds, agent.remembering_act()), optimizer, step=update)
    if update % 8 == 7:
        print(f"after {update + 1:2} updates: J {exact_J():.4f} of {best:.4f}")

for _ in range(mdp.horizon):  # one turn of the loop: read the state, write the action, take the step
    if "*" not in world.get_state():
        print(world.get_state(), "-> reward", interact(agent, world)[0])
