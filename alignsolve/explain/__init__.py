"""Why an answer is what it is: margins, worths of slots, and the price of balance."""

from alignsolve.explain.explain import Explainer, explain
from alignsolve.explain.views import (
    Alternative,
    ClientExplanation,
    Contender,
    ExpertExplanation,
    Explanation,
    HeldExpert,
)

__all__ = [
    "Alternative",
    "ClientExplanation",
    "Contender",
    "ExpertExplanation",
    "Explainer",
    "Explanation",
    "HeldExpert",
    "explain",
]
