"""The whole method in five scripts, from one neuron's gradient to the agent.

Each is plain Python in cells (``# %%``), which notebooks and editors run one by one; ``minillm tutorial N`` does it in the terminal. They
run when they are imported, as scripts do: ``python -m minillm.tutorial.lesson_1_neuron``.
"""
