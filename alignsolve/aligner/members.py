"""Clients come and go: the part of an aligner that declares and forgets them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alignsolve.aligner.capacity import ClientProfile
from alignsolve.aligner.log import RoundLog
from alignsolve.aligner.plan import Plan
from alignsolve.aligner.policy import Round
from alignsolve.aligner.reports import ClientId, client_id
from alignsolve.aligner.tables import Tables
from alignsolve.errors import ProblemError
from alignsolve.interrupts import Call
from alignsolve.model.arrays import Float64Array, IntArray


class Members:
    """The clients of an `alignsolve.aligner.aligner.Aligner`, which is one."""

    tables: Tables
    round: int
    open_plan: Plan | None
    _open_inputs: Round | None
    _log: RoundLog

    def declare(self, client: ClientId, **profile: Any) -> None:
        """Declare what a client can do.

        Parameters
        ----------
        client : str or int
            Its id; a new client is added.
        **profile
            Fields of `ClientProfile`. What is not given stays as it was.

        Raises
        ------
        ProblemError
            If a field is unknown or malformed.
        """
        declared = ClientProfile.of(profile, self.tables.settings.n_experts)
        with Call("finish"):
            row = self.tables.clients.add(client)
            self.tables.grow()
            self.tables.capacity.declare(row, declared)
            self.tables.seen.round[row] = self.round

    def forget(self, clients: Iterable[ClientId]) -> int:
        """Drop all that is kept of clients that left, and return how many were known.

        Parameters
        ----------
        clients : iterable of str or int
            Unknown ones are passed over. One that comes back is new: without profile,
            history and placement, as likely to finish as the fleet.

        Raises
        ------
        ProblemError
            If one has a part in the open plan; nobody is forgotten then.

        Notes
        -----
        Deficits stay as they are: the holders and samples that experts had of these
        clients were had, and later rounds do not make up for them. Experts' mean scores
        stay too, and fade. So plans for the others are the same, bit for bit.

        A client takes about 290 bytes of state, 18 for each expert, and 4 for each of its features.
        """
        rows, waits = self.tables.clients.known(clients), self.open_plan
        busy = {*self.tables.clients.named(rows)} & {*(waits.clients if waits else ())}
        if busy:
            raise ProblemError(f"client {min(busy, key=str)!r} has a part in the open round "
                               f"{self.round}; call observe or replan before")
        return self._forget(rows)

    def _forget(self, rows: IntArray) -> int:
        with Call("finish"):
            names = self.tables.forget(rows, self._open_inputs)
            if names:
                self._log.write("forget", clients=names)
        return len(names)

    def fitness(self, clients: Iterable[ClientId]) -> Float64Array:
        """Return what pairs' own scores tell, without bonus and without evidence of others.

        Parameters
        ----------
        clients : iterable of str or int
            Known ones; of experts that it tried lately, those of the highest values suit best.

        Returns
        -------
        fitness : float64 array, shape (n_clients, n_experts)
            In units of the score.
        """
        ids = [client_id(client) for client in clients]
        rows = self.tables.clients.known(ids)
        if rows.size < len(ids):
            unknown = next(name for name in ids if name not in self.tables.clients.row)
            raise ProblemError(f"client {unknown!r} is not known; declare it, or plan with it")
        return self.tables.fitness.fitness(rows, self.round, bonus=False)
