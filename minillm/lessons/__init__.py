"""Lessons: each operation, the model, each objective and estimator as text beside its code, run on a tiny input.

The text of a lesson is the docstrings of the file that it is about: there is no second copy. ``minillm explain`` prints them.
Like :mod:`minillm.lab` these modules stand on everything and carry nothing.
"""

from minillm.lessons.catalogue import Lesson, contents, find, lessons

__all__ = ["Lesson", "contents", "find", "lessons"]
