"""Run backends on instances in separate processes, and say who solved what.

`run_bench` is the door; one module each: which instances (`instances`), what
is measured (`measure`), the processes (`worker`, `pool`), what is kept
(`store`), who is right and how fast (`score`), what is said of it (`contents`)
and how it reads (`report`, `layout`, `page`, `profile`, `live`).
"""

from alignsolve.bench.report import BenchReport
from alignsolve.bench.runner import run_bench

__all__ = ["BenchReport", "run_bench"]
