"""The package's kernels: one decorator, where compiled ones are kept, and what compiling costs.

Whatever is written in loops is a `kernel`. Work that is small runs the same source, interpreted,
where it is not compiled: to the same bits. Importing this package imports no numba.
"""

from alignsolve.kernels.costs import WARM_UP_HINT
from alignsolve.kernels.decorator import (
    SMALL,
    Kernel,
    compiled,
    compiling,
    kernel,
    seconds_left,
    until,
)
from alignsolve.kernels.machine import cores

__all__ = [
    "SMALL", "WARM_UP_HINT", "Kernel", "compiled", "compiling", "cores", "kernel",
    "seconds_left", "until",
]
