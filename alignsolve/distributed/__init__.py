"""The exact solver with its clients spread over the workers of a Ray cluster.

Importing this package imports no Ray; solving does.
"""

from alignsolve.distributed.engine import RayEngine

__all__ = ["RayEngine"]
