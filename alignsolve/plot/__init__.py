"""Pictures of answers, solves and benches: matplotlib Axes in, and out.

Every function draws on the Axes that it is given, or on those of a new figure, and returns them.
matplotlib is imported when something is drawn.
"""

from alignsolve.plot.answers import assignment, loads, prices
from alignsolve.plot.performance import profile
from alignsolve.plot.progress import gap

__all__ = ["assignment", "gap", "loads", "prices", "profile"]
