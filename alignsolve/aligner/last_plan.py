"""The last plan, and what explains it."""

from __future__ import annotations

from functools import cached_property

from alignsolve.aligner.plan import Plan
from alignsolve.aligner.reports import ClientId
from alignsolve.errors import ProblemError
from alignsolve.explain import ClientExplanation, ExpertExplanation, Explainer, Explanation


class LastPlan:
    """Explains a plan; the explainer is made once somebody asks.

    Parameters
    ----------
    plan : Plan or None
        The plan; None where none was made since the start.
    """

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan

    @cached_property
    def _explainer(self) -> Explainer:
        if self.plan is None or self.plan.result is None:
            raise ProblemError(
                "there is no solved plan to explain; call plan() with a strategy that solves"
            )
        return Explainer(self.plan.result.problem, self.plan.result)

    def explain(
        self, client: ClientId | None, expert: int | str | None
    ) -> ClientExplanation | ExpertExplanation | Explanation:
        """Explain the plan; see `Aligner.explain`."""
        if client is not None and expert is not None:
            raise ProblemError("explain takes a client or an expert, not both")
        explainer = self._explainer
        if client is None:
            return explainer.overall() if expert is None else explainer.expert(expert)
        assert self.plan is not None
        return explainer.client(self.plan.row_of(client))
