"""Why an answer is what it is: margins, worths of slots, and the price of balance."""

from alignsolve.explain.explain import explain
from alignsolve.explain.explainer import Explainer
from alignsolve.explain.views import (
    Alternative,
    ClientExplanation,
    Contender,
    Evidence,
    ExpertExplanation,
    Explanation,
    HeldExpert,
)

__all__ = [
    "Alternative",
    "ClientExplanation",
    "Contender",
    "Evidence",
    "ExpertExplanation",
    "Explainer",
    "Explanation",
    "HeldExpert",
    "explain",
]
