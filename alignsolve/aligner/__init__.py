"""The per-round service on top of the solvers: `Aligner` and what it exchanges."""

from alignsolve.aligner.aligner import Aligner
from alignsolve.aligner.capacity import CapacitySettings, ClientProfile
from alignsolve.aligner.fitness import FitnessSettings
from alignsolve.aligner.load import LoadSettings
from alignsolve.aligner.plan import Plan
from alignsolve.aligner.reports import ClientReport, ExpertReport, Observation, Refusal
from alignsolve.aligner.settings import PolicySettings

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
