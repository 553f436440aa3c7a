"""A simulated fleet for `benchmarks/aligner_service.py`: devices, data, dropouts, drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import alignsolve as al

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Traits by which clients' data and experts match.
TRAITS = 8

#: Drift of a client's traits in a round, and share of clients that change abruptly at half time.
DRIFT, ABRUPT = 0.02, 0.1

#: Share of devices that become slower at half time, and how much.
SLOWED, SLOWDOWN = 0.1, 3.0

#: Noise of a reported accuracy.
NOISE = 0.05

#: Numbers by which clients tell what they are like, where they do, and their noise.
FEATURES, FEATURE_NOISE = 16, 0.5

#: Megabytes of an expert, in the runs with budgets and in those without.
SIZES = (4.0, 6.0, 8.0, 12.0)

#: Share of the fleet, slots, memory in MB, megabits per second down and up, seconds per
#: sample, and probability to stay connected, of four tiers of devices.
TIERS = (
    (0.45, 1, 40.0, 8.0, 4.0, 0.04, 0.80),
    (0.35, 2, 64.0, 24.0, 12.0, 0.02, 0.90),
    (0.15, 4, 128.0, 64.0, 32.0, 0.01, 0.95),
    (0.05, 8, 256.0, 256.0, 128.0, 0.002, 0.99),
)


@dataclass
class Fleet:
    """Clients with hidden truth; the same one for every strategy with the same seed."""

    n_clients: int
    n_experts: int
    seed: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        n = self.n_clients
        self.tier = rng.choice(len(TIERS), n, p=[tier[0] for tier in TIERS])
        table = np.array(TIERS)[self.tier]
        self.slots = table[:, 1].astype(np.int64)
        self.memory, self.down, self.up = table[:, 2], table[:, 3], table[:, 4]
        self.speed = table[:, 5] * rng.lognormal(0.0, 0.3, n)
        self.stays = table[:, 6]
        self.samples = np.ceil(rng.lognormal(4.0, 0.8, n))
        self.traits = rng.standard_normal((n, TRAITS))
        self.experts = rng.standard_normal((TRAITS, self.n_experts)) / np.sqrt(TRAITS)
        # Some experts suit almost everybody, and big clients like other ones than small.
        self.popular = 0.7 * rng.standard_normal(self.n_experts)
        self.for_big = 0.3 * rng.standard_normal(self.n_experts)
        self.size = np.log(self.samples) - 4.0
        self.sizes = rng.choice(SIZES, self.n_experts)
        # Features mix traits; they do not tell the size.
        other = np.random.default_rng((self.seed, 1))
        self.mixture = other.standard_normal((TRAITS, FEATURES)) / np.sqrt(TRAITS)

    def declare(self, aligner: al.Aligner, budgets: bool) -> None:
        """Tell an aligner what the devices declare of themselves."""
        for client in range(self.n_clients):
            more = {}
            if budgets:
                more = {
                    "memory_mb": self.memory[client], "down_mbps": self.down[client],
                    "up_mbps": self.up[client], "seconds_per_sample": self.speed[client],
                    "budget_mb": 0.2 * self.memory[client],
                }  # fmt: skip
            aligner.declare(
                client, max_experts=int(self.slots[client]), samples=self.samples[client], **more
            )

    def drift(self, rng: np.random.Generator, round_: int, rounds: int) -> None:
        """Let the truth change before a round."""
        n = self.n_clients
        self.traits += DRIFT * rng.standard_normal(self.traits.shape)
        if round_ == rounds // 2:
            changed = rng.random(n) < ABRUPT
            self.traits[changed] = rng.standard_normal((int(changed.sum()), TRAITS))
            self.speed[rng.random(n) < SLOWED] *= SLOWDOWN

    def truth(self, clients: Ints) -> Floats:
        """Return the accuracy that each pair would have, (n, n_experts)."""
        score = self.traits[clients] @ self.experts + self.popular
        score += self.size[clients, None] * self.for_big
        return np.asarray(1 / (1 + np.exp(-score)))

    def reports(
        self,
        plan: al.Plan,
        truth: Floats,
        rng: np.random.Generator,
        deadline: float | None,
        megabytes: Floats,
        features: np.random.Generator | None = None,
    ) -> list[al.ClientReport]:
        """Return what comes back in time of a plan; `truth` has a row per participant.

        `features` draws the noise of what clients say of themselves; None for nothing said.
        """
        clients = np.array(plan.clients, dtype=np.int64)
        n, m = truth.shape
        # Drawn for all pairs, so that luck does not depend on the strategy.
        noise = NOISE * rng.standard_normal((n, m))
        stays = rng.random(n) < self.stays[clients]
        pace = rng.lognormal(0.0, 0.1, (n,))
        said = None if features is None else (
            self.traits[clients] @ self.mixture
            + FEATURE_NOISE * features.standard_normal((n, FEATURES)))
        found = []
        for row, client in enumerate(clients.tolist()):
            held = plan.experts_of(client)
            down = float(megabytes[plan.downloads_of(client)].sum())
            up = float(np.sum(megabytes[held]))
            seconds = held.size * self.samples[client] * self.speed[client] * pace[row]
            times = 8 * down / self.down[client], 8 * up / self.up[client]
            if not stays[row] or (deadline is not None and seconds + sum(times) > deadline):
                continue
            right = np.clip(truth[row, held] + noise[row, held], 0.0, 1.0)
            found.append(al.ClientReport(
                client, plan.round, self.samples[client], seconds, down_mb=down, up_mb=up,
                down_seconds=times[0], up_seconds=times[1],
                # Older versions, measured beside this one, know no features.
                **({} if said is None else {"features": said[row]}),
                experts={
                    expert: al.ExpertReport(self.samples[client], accuracy=accuracy)
                    for expert, accuracy in zip(held.tolist(), right.tolist(), strict=True)
                },
            ))  # fmt: skip
        return found


def best_balanced(truth: Floats, slots: Ints) -> float:
    """Return the fitness of the best plan that balances this round alone, knowing the truth."""
    mean = slots.sum() / truth.shape[1]
    problem = al.AlignmentProblem(
        truth, slots, min_experts=slots, load_min=np.floor(mean), load_max=np.ceil(mean)
    )
    return float(al.solve(problem).objective_value)
