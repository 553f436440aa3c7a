"""Why an answer is what it is: margins, worths of slots, and the price of balance."""

from alignsolve.explain.client_view import Alternative, ClientExplanation, Evidence, HeldExpert
from alignsolve.explain.expert_view import Contender, ExpertExplanation
from alignsolve.explain.explain import explain
from alignsolve.explain.explainer import Explainer
from alignsolve.explain.overall_view import Explanation

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
