"""What clients alike in their features tell of each other's pairs."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alignsolve.aligner.clients import Clients
from alignsolve.aligner.features import ClientFeatures, Kernel
from alignsolve.aligner.fitness import FitnessTracker, Shared
from alignsolve.aligner.reports import ClientId
from alignsolve.explain import Evidence
from alignsolve.model.arrays import Float64Array, FloatArray, IntArray

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

#: Most clients whose evidence is shared, the newest; cost grows with it.
MOST = 4096

#: Discounted number of scores below which a pair's evidence is left out.
FADED = 1e-3

#: Variance of a score's noise in that of residuals between clients.
NOISE = 1.0

_one_thread = threading.Lock()


@functools.cache
def _libraries() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep numpy's products on one thread: ours are many and small, and threads wait spinning.

    Processor time falls to a quarter on two cores, and sums do not depend on their number.
    The setting is the process's, so only one thread may change it at a time.
    """
    with _one_thread, _libraries().limit(limits=1, user_api="blas"):
        yield


@dataclass(frozen=True, eq=False)
class SharedEvidence:
    """A model of every expert's residuals over clients' features.

    Attributes
    ----------
    kernel : Kernel
        How alike clients are.
    rows : int64 array, shape (e,)
        Clients whose evidence counts.
    embedded : float32 array, shape (e, r)
        Their features.
    count, excess : float64 array, shape (e, n_experts)
        Discounted number of each pair's scores, and sum of their residuals.
    inverse : float64 array, shape (n_experts, r, r)
        Of each expert's ``A``.
    mean : float64 array, shape (n_experts, r)
        ``A**-1 b``.

    Notes
    -----
    Of expert j the residual ``score - prior_ij`` is taken for a function of the client's
    features, drawn from a Gaussian process with the kernel k(x, z), plus noise of c = `NOISE` times
    its variance [1]_. With ``phi_i`` the embedded features of client i, and
    ``N_ij`` and ``S_ij`` the discounted number and sum of the pair's scores, as in
    `FitnessTracker`, the posterior mean and variance at client i are ::

        A_j = c I + sum_i N_ij phi_i phi_i'        b_j = sum_i phi_i (S_ij - N_ij prior_ij)
        f_ij = phi_i' A_j**-1 b_j                  v_ij = 1 - |phi_i|**2 + c phi_i' A_j**-1 phi_i

    that is, kernel ridge regression by landmarks [2]_, and its use for exploration is that of
    [3]_. The fitness of the pair is its own evidence, shrunk to ``prior_ij + f_ij`` in place of
    ``prior_ij`` by the weight ``max(k, min(M_ij, 3))`` in place of k, and its bonus counts
    ``max(N_ij, M_ij)`` scores in place of ``N_ij``, with ``M_ij = c (1 / v_ij - 1)``: of clients
    with the same features, the number of all their scores. Our own: this count, that weight, that
    residuals are those of today's prior, and that old evidence counts by the client's features of
    today. A client without features has f = 0 and v = 1, as if nobody shared.

    Time O(e m r**2 + n m r**2 + m r**3) and memory O(n r + m r**2), with n clients that
    are planned and at most 4096 whose evidence counts; no matrix of clients by clients.

    References
    ----------
    .. [1] C. Rasmussen, C. Williams, "Gaussian Processes for Machine Learning", 2006, chapter 2.
    .. [2] J. Quinonero-Candela, C. Rasmussen, "A Unifying View of Sparse Approximate Gaussian
       Process Regression", JMLR 6 (2005).
    .. [3] M. Valko et al., "Finite-Time Analysis of Kernelised Contextual Bandits", UAI 2013,
       arXiv:1309.6869; discounting as by Y. Russac et al., "Weighted Linear Bandits for
       Non-Stationary Environments", NeurIPS 2019, arXiv:1909.09146.
    """

    kernel: Kernel
    rows: IntArray
    embedded: FloatArray
    count: Float64Array
    excess: Float64Array
    inverse: Float64Array
    mean: Float64Array

    @classmethod
    def of(
        cls, features: ClientFeatures, tracker: FitnessTracker, round_: int
    ) -> SharedEvidence:
        """Return the model of all evidence so far; somebody must have features."""
        known = features.all_known()
        rows = known[tracker.client_count[known] > 0]
        newest = np.argsort(-tracker.client_round[rows], kind="stable")[:MOST]
        rows = np.sort(rows[newest])
        kernel = Kernel.of(features.vector[known], tracker.settings.kernel_width)
        embedded = kernel.embed(features.vector[rows])
        count, excess = tracker.evidence(rows, round_)
        m, rank = count.shape[1], embedded.shape[1]
        gram = np.empty((m, rank, rank))
        moment = np.empty((m, rank))
        counts, excesses = (np.ascontiguousarray(part.T, np.float32) for part in (count, excess))
        for expert in range(m):
            some = np.flatnonzero(counts[expert] > FADED)
            phi = embedded[some]
            moment[expert] = excesses[expert, some] @ phi
            phi *= np.sqrt(counts[expert, some])[:, None]
            gram[expert] = phi.T @ phi
        inverse = np.asarray(np.linalg.inv(gram + NOISE * np.eye(rank)), dtype=np.float64)
        mean = np.einsum("jrs,js->jr", inverse, moment)
        return cls(kernel, rows, embedded, count, excess, inverse, mean)

    def estimate(self, features: ClientFeatures, clients: IntArray) -> Shared:
        """Return what is known of some clients' pairs from all evidence."""
        phi = self.kernel.embed(features.vector[clients])
        open_ = np.maximum(1.0 - (phi * phi).sum(axis=1), 0.0)
        variance = np.empty((len(clients), len(self.mean)), dtype=np.float32)
        for expert, inverse in enumerate(self.inverse.astype(np.float32)):
            variance[:, expert] = np.einsum("nr,nr->n", phi @ inverse, phi)
        variance = np.clip(open_[:, None] + NOISE * variance, 1e-9, 1.0)
        known = features.known[clients][:, None]
        return Shared(np.where(known, phi @ self.mean.T, 0.0),
                      np.where(known, NOISE * (1.0 / variance - 1.0), 0.0))

    def shares(
        self, features: ClientFeatures, client: int, expert: int
    ) -> tuple[IntArray, Float64Array]:
        """Return by which share each client's scores enter ``f`` of a pair, the largest first.

        The client's features must be known.

        Returns
        -------
        rows : int64 array, shape (k,)
            Clients with a score of the expert.
        shares : float64 array, shape (k,)
            ``N phi' A**-1 phi``; negative where a score above what is expected lowers f.
        """
        phi = self.kernel.embed(features.vector[client : client + 1])[0]
        share = self.count[:, expert] * (self.embedded @ (self.inverse[expert] @ phi))
        some = np.flatnonzero(self.count[:, expert] > FADED)
        some = some[np.argsort(-np.abs(share[some]), kind="stable")]
        return self.rows[some], share[some]


def shared_evidence(
    features: ClientFeatures, tracker: FitnessTracker, clients: IntArray, round_: int
) -> Shared | None:
    """Return what is known of clients' pairs from all evidence; None where nobody has features."""
    if not features.known.any():
        return None
    with one_blas_thread():
        return SharedEvidence.of(features, tracker, round_).estimate(features, clients)


def evidence_of(
    features: ClientFeatures, tracker: FitnessTracker, clients: Clients, client: ClientId,
    experts: Mapping[int, str], round_: int,
) -> tuple[Evidence, ...]:
    """Return whose scores the fitness of a client's pairs rests on, in units of its total weight.

    Parameters
    ----------
    clients : Clients
        Names of all rows.
    client : str or int
        Its id; one that was forgotten has no evidence.
    experts : mapping of int to str
        Experts and how messages call them.
    """
    row = clients.row.get(client)
    if row is None or not features.known[row]:
        return ()
    with one_blas_thread():
        model = SharedEvidence.of(features, tracker, round_)
        weight = model.estimate(features, np.array([row])).weight(tracker.settings.prior_weight)[0]
    count = tracker.evidence(np.array([row]), round_)[0][0]
    found = []
    for expert, name in experts.items():
        prior = weight[expert] / (count[expert] + weight[expert])
        rows, shares = model.shares(features, row, expert)
        shares = prior * shares
        others = rows != row
        named = map(str, clients.named(rows[others]))
        found.append(Evidence(
            expert, name, float(1.0 - prior + shares[~others].sum()),
            tuple(zip(named, shares[others].tolist(), strict=True))))
    return tuple(found)
