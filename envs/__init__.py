"""Text environments that are tables first and simulators second."""

DISTRIBUTION = "minillm-numpy"  # a foreign package of the same name lacks this mark (see minillm.worlds)
