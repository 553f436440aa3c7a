"""The per-round service on top of the solvers: `Aligner` and what it exchanges."""

from alignsolve.aligner.aligner import Aligner
from alignsolve.aligner.capacity import CapacitySettings, ClientProfile
from alignsolve.aligner.fitness import FitnessSettings
from alignsolve.aligner.load import LoadSettings
from alignsolve.aligner.plan import Plan
from alignsolve.aligner.policy import PolicySettings
from alignsolve.aligner.reports import ClientReport, ExpertReport, Observation, Refusal

__all__ = [
    "Aligner",
    "CapacitySettings",
    "ClientProfile",
    "ClientReport",
    "ExpertReport",
    "FitnessSettings",
    "LoadSettings",
    "Observation",
    "Plan",
    "PolicySettings",
    "Refusal",
]
