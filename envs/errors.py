"""Errors of the environments. Text never raises; a wrong type does, and so does stepping past the end."""


class EnvError(ValueError):
    """Something asked of an environment is wrong; the message says what, where, and what was expected."""


class UnknownEnvironment(EnvError):
    """No environment has this id; the message names the nearest."""


class ResetNeeded(RuntimeError):
    """A step before the first reset, or after the end of an episode."""
