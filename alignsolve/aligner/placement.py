"""Who holds what, and in which version: placements apart from versioned bytes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from alignsolve.aligner.rows import Rows
from alignsolve.model.arrays import BoolArray, IntArray


class Placements(Rows):
    """Each client's last placement, and the versions of the copies that it keeps.

    Notes
    -----
    What has to be sent after aggregation, exactly:

    * An expert's version on the server rises by one in every round in which at
      least one accepted report trained it (samples > 0).
    * A client keeps copies of its last placement only. After an accepted report
      the copy of an expert that it trained is its own and no version of the
      server, even where nobody else trained that expert: aggregation may still
      change it. The copy of an expert that it held and did not train is the
      version that it was sent.
    * After a round without an accepted report nothing is known of a client's
      copies, and they count as lost. Its placement stays that of its last
      accepted report.

    So a pair is free of download only where the client held the expert in the
    last round that it reported, did not train it, and nobody else has since. A
    service in which every expert is trained in every round resends everything,
    whatever the placements; they still matter for what a client keeps beside
    the weights: optimiser state, compiled graphs, data sorted by expert.
    """

    ROWS: ClassVar[dict[str, float]] = {"placed": False, "copy": -1}
    PLAIN: ClassVar[tuple[str, ...]] = ("version",)

    def __init__(self, n_experts: int) -> None:
        self.placed: BoolArray = np.zeros((0, n_experts), dtype=np.bool_)
        #: Version of a client's copy; -1 where it has none that the server had.
        self.copy = np.zeros((0, n_experts), dtype=np.int32)
        self.version = np.zeros(n_experts, dtype=np.int32)

    def current(self, clients: IntArray) -> BoolArray:
        """Tell for each pair whether the client's copy is the server's version."""
        return np.asarray(self.copy[clients] == self.version)

    def finish(
        self, asked: IntArray, rows: IntArray, experts: IntArray, trained: BoolArray
    ) -> None:
        """Take in a round.

        Parameters
        ----------
        asked : int64 array, shape (n,)
            Rows of the clients in the plan.
        rows, experts : int64 array, shape (n_pairs,)
            Pairs of the plan whose client's report was accepted.
        trained : bool array, shape (n_pairs,)
            Whether the report says that the expert was trained.
        """
        self.copy[asked] = -1
        self.copy[rows[~trained], experts[~trained]] = self.version[experts[~trained]]
        self.placed[rows] = False
        self.placed[rows, experts] = True
        self.version[np.unique(experts[trained])] += 1
