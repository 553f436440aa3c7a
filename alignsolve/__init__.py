"""Exact, certified client-expert assignment for federated mixture-of-experts training.

See `AlignmentProblem` for the model, `solve` for the answer and `certify` for
the proof.
"""

import alignsolve.machine  # noqa: F401  first: what is imported next takes memory

# isort: split
from typing import TYPE_CHECKING, Any

from alignsolve.aligner import (
    Aligner,
    CapacitySettings,
    ClientProfile,
    ClientReport,
    ExpertReport,
    FitnessSettings,
    LoadSettings,
    Observation,
    Plan,
    PolicySettings,
    Refusal,
)
from alignsolve.backends import available_backends
from alignsolve.certificate.best_responses import Multipliers
from alignsolve.certificate.certificate import Certificate, certify
from alignsolve.distributed import RayEngine
from alignsolve.elastic import Elastic, Relaxation
from alignsolve.errors import (
    AlignSolveError,
    BackendError,
    BackendNotFoundError,
    CheckpointError,
    ProblemError,
    UnsupportedProblemError,
)
from alignsolve.explain import (
    ClientExplanation,
    ExpertExplanation,
    Explainer,
    Explanation,
    explain,
)
from alignsolve.infeasibility import Bound, Conflict, ConflictCheck
from alignsolve.io import (
    Solution,
    read_instance,
    read_instances,
    read_solution,
    write_instance,
    write_solution,
)
from alignsolve.model.problem import AlignmentProblem, Feature, Load, Resource
from alignsolve.model.sources import (
    ArraySource,
    FactorSource,
    FitnessSource,
    FunctionSource,
    MappedSource,
    SparseSource,
    TableSource,
)
from alignsolve.progress import Progress
from alignsolve.result import Result
from alignsolve.solve.conflicts import check_conflict
from alignsolve.solve.solve import solve
from alignsolve.status import Fallback, Status, Termination
from alignsolve.warm_up import warm_up

if TYPE_CHECKING:
    from alignsolve import plot

__version__ = "0.2.0.dev0"

__all__ = [
    "AlignSolveError",
    "Aligner",
    "AlignmentProblem",
    "ArraySource",
    "BackendError",
    "BackendNotFoundError",
    "Bound",
    "CapacitySettings",
    "Certificate",
    "CheckpointError",
    "ClientExplanation",
    "ClientProfile",
    "ClientReport",
    "Conflict",
    "ConflictCheck",
    "Elastic",
    "ExpertExplanation",
    "ExpertReport",
    "Explainer",
    "Explanation",
    "FactorSource",
    "Fallback",
    "Feature",
    "FitnessSettings",
    "FitnessSource",
    "FunctionSource",
    "Load",
    "LoadSettings",
    "MappedSource",
    "Multipliers",
    "Observation",
    "Plan",
    "PolicySettings",
    "ProblemError",
    "Progress",
    "RayEngine",
    "Refusal",
    "Relaxation",
    "Resource",
    "Result",
    "Solution",
    "SparseSource",
    "Status",
    "TableSource",
    "Termination",
    "UnsupportedProblemError",
    "available_backends",
    "certify",
    "check_conflict",
    "explain",
    "plot",
    "read_instance",
    "read_instances",
    "read_solution",
    "solve",
    "warm_up",
    "write_instance",
    "write_solution",
]


def __getattr__(name: str) -> Any:
    """Import what draws when it is used."""
    if name == "plot":
        import alignsolve.plot

        return alignsolve.plot
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
