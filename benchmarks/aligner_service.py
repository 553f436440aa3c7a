"""Measure the `Aligner` over 200 rounds of a simulated fleet, beside all baselines.

Every command adds one line to ``benchmarks/results/aligner_service.jsonl`` with
machine and versions; a run that is there already is not made again (``--again``
does)::

    python benchmarks/aligner_service.py run optimal
    python benchmarks/aligner_service.py all
    python benchmarks/aligner_service.py report
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import _results
import numpy as np
import typer
from _aligner_world import Fleet, best_balanced

import alignsolve as al
from alignsolve.aligner.settings import Strategy
from alignsolve.plot.style import figure_bytes, line_styles, new_figure

RESULTS = Path(__file__).parent / "results" / "aligner_service.jsonl"
PLOT = RESULTS.with_suffix(".png")

CLIENTS, EXPERTS, ROUNDS, SHARE = 10_000, 64, 200, 0.1

#: Seconds of a round, where it has budgets.
DEADLINE = 60.0

#: Every how many rounds clients vanish after planning, and how many.
LOSS_EVERY, LOST = 10, 10

app = typer.Typer(add_completion=False, help=__doc__)


@dataclass(frozen=True)
class Case:
    """A strategy with its settings."""

    strategy: Strategy
    budgets: bool = False
    load: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    rounds: int = ROUNDS
    features: bool = False


CASES = {
    "optimal": Case("optimal"),
    "optimal, features": Case("optimal", features=True),
    "optimal, switching costs": Case("optimal", policy={"switch_cost": 0.055}),
    "optimal, price on samples": Case("optimal", load={"sample_price": 1.0}),
    # Of the class "mip": ended by the gap of 1% that is the policy's default, not by a clock.
    "optimal, every budget and sample bounds": Case(
        "optimal", budgets=True, load={"slack": 0.1, "sample_slack": 0.1}, rounds=100,
    ),
    "flex-moe": Case("flex-moe"),
    "fedamole": Case("fedamole"),
    "greedy": Case("greedy"),
    "round-robin": Case("round-robin"),
    "random": Case("random"),
}


def warm_up(case: Case) -> None:
    """Compile and import what a case needs: that is not what is measured."""
    fleet = Fleet(2000, EXPERTS)
    aligner = al.Aligner(EXPERTS, expert_mb=fleet.sizes, strategy=case.strategy,
                         load=al.LoadSettings(**case.load), policy=al.PolicySettings(**case.policy))
    fleet.declare(aligner, case.budgets)
    for _ in range(2):
        plan = aligner.plan(range(500), DEADLINE if case.budgets else None)
        aligner.replan(plan, [0])


def simulate(case: Case, rounds: int) -> dict[str, Any]:
    """Run a case and return its figures and curves."""
    fleet = Fleet(CLIENTS, EXPERTS)
    megabytes = fleet.sizes if case.budgets else np.full(EXPERTS, 8.0)
    aligner = al.Aligner(
        EXPERTS,
        expert_mb=megabytes,
        strategy=case.strategy,
        fitness=al.FitnessSettings(score="accuracy"),
        load=al.LoadSettings(**case.load),
        policy=al.PolicySettings(**case.policy),
    )
    fleet.declare(aligner, case.budgets)
    asked, luck, change, said = (np.random.default_rng((7, part)) for part in range(4))
    deadline = DEADLINE if case.budgets else None
    curves: dict[str, list[float]] = {name: [] for name in (
        "seconds", "holders_cv", "samples_cv", "fitness", "regret", "moved", "pairs", "down_mb",
        "gap", "replan_share", "finished", "relaxed", "processor_seconds",
    )}  # fmt: skip
    warm_up(case)
    for round_ in range(rounds):
        fleet.drift(change, round_, rounds)
        clients = asked.choice(CLIENTS, int(SHARE * CLIENTS), replace=False)
        plan, _, spent = _results.clocked(partial(aligner.plan, clients.tolist(), deadline))
        curves["processor_seconds"].append(spent)
        seconds = plan.seconds
        curves["seconds"].append(seconds)
        if round_ % LOSS_EVERY == LOSS_EVERY - 1:
            plan = aligner.replan(plan, plan.clients[:LOST])
            clients = clients[LOST:]
            curves["replan_share"].append(plan.seconds / seconds)
        truth = fleet.truth(clients)
        seen = aligner.observe(plan, fleet.reports(plan, truth, luck, deadline, megabytes,
                                                   said if case.features else None))
        metrics = aligner.metrics()
        reached = float(truth[plan.row_ind, plan.col_ind].sum())
        curves["fitness"].append(reached / max(1, plan.row_ind.size))
        curves["regret"].append(1 - reached / best_balanced(truth, fleet.slots[clients]))
        curves["holders_cv"].append(metrics["holders"]["cv"])
        curves["samples_cv"].append(metrics["samples"]["cv"])
        curves["moved"].append(plan.placements_changed)
        curves["pairs"].append(plan.row_ind.size)
        curves["down_mb"].append(plan.down_mb)
        curves["finished"].append(seen.accepted / len(clients))
        curves["relaxed"].append(len(plan.relaxations))
        if plan.result is not None:
            curves["gap"].append(plan.result.gap)
    return {"curves": {name: [round(v, 6) for v in part] for name, part in curves.items()}}


def figures(record: dict[str, Any]) -> dict[str, float]:
    """Return the figures of the table from the curves of a run."""
    curves = {name: np.array(part) for name, part in record["curves"].items()}
    late = slice(len(curves["regret"]) // 2, None)
    return {
        "seconds, median": float(np.median(curves["seconds"])),
        "seconds, 90%": float(np.quantile(curves["seconds"], 0.9)),
        "processor s, median": float(np.median(curves["processor_seconds"])),
        "gap, median": float(np.median(curves["gap"])) if curves["gap"].size else float("nan"),
        "gap, worst": float(curves["gap"].max(initial=0.0)),
        "holders CV": float(curves["holders_cv"][-1]),
        "samples CV": float(curves["samples_cv"][-1]),
        "fitness": float(np.average(curves["fitness"], weights=curves["pairs"])),
        "regret": float(curves["regret"].mean()),
        "regret, rounds 41-50": float(curves["regret"][40:50].mean()),
        "regret, 2nd half": float(curves["regret"][late].mean()),
        "finished": float(curves["finished"].mean()),
        "new placements": float(curves["moved"].sum() / curves["pairs"].sum()),
        "GB sent": float(curves["down_mb"].sum() / 1000),
        "replan share": float(np.median(curves["replan_share"])) if curves["replan_share"].size
        else float("nan"),
        "relaxed": float((curves["relaxed"] > 0).mean()),
    }  # fmt: skip


def stored() -> dict[str, dict[str, Any]]:
    """Return the newest record of every case."""
    return {record["case"]: record for record in _results.stored(RESULTS)}


@app.command()
def run(
    case: Annotated[str, typer.Argument(help=", ".join(CASES))],
    again: Annotated[bool, typer.Option("--again")] = False,
    rounds: Annotated[int | None, typer.Option(help="a short form, which is not stored")] = None,
) -> None:
    """Run one case."""
    if case not in CASES:
        raise typer.BadParameter(f"give one of {', '.join(CASES)}")
    if rounds is not None:
        for name, value in figures(simulate(CASES[case], rounds)).items():
            typer.echo(f"  {name:<22}{value:.4g}")
        return
    found = stored()
    if case in found and not again:
        typer.echo(f"{case}: there already")
        return
    started = time.perf_counter()
    record = {
        "case": case, "clients": CLIENTS, "experts": EXPERTS, "rounds": CASES[case].rounds,
        "machine": _results.machine_record(),
    } | simulate(CASES[case], CASES[case].rounds)  # fmt: skip
    record["wall_seconds"] = round(time.perf_counter() - started, 1)
    found[case] = record
    _results.replace(RESULTS, (found[name] for name in CASES if name in found))
    typer.echo(f"{case}: {record['wall_seconds']} s")
    for name, value in figures(record).items():
        typer.echo(f"  {name:<22}{value:.4g}")


@app.command(name="all")
def all_cases(again: Annotated[bool, typer.Option("--again")] = False) -> None:
    """Run all cases, then report."""
    for case in CASES:
        run(case, again)
    report()


@app.command()
def report() -> None:
    """Print the table and draw the plot."""
    found = stored()
    if not found:
        typer.echo("no results: run something first", err=True)
        sys.exit(1)
    rows = {case: figures(found[case]) for case in CASES if case in found}
    names = list(next(iter(rows.values())))
    typer.echo("| strategy | " + " | ".join(names) + " |")
    typer.echo("|---" * (len(names) + 1) + "|")
    for case, row in rows.items():
        typer.echo(f"| {case} | " + " | ".join(f"{row[name]:.3g}" for name in names) + " |")
    draw({case: found[case]["curves"] for case in rows})
    typer.echo(f"plot: {PLOT}")


#: Labels of the axes of `draw`.
UNITS = {"holders_cv": "coefficient of variation", "samples_cv": "coefficient of variation",
         "regret": "share of the best value", "seconds": "seconds, means of ten rounds"}


def draw(curves: dict[str, dict[str, list[float]]]) -> None:
    """Draw load balance, regret, time and bytes over the rounds."""
    panels = {
        "holders_cv": "CV of holders, all rounds so far", "samples_cv": "CV of samples",
        "regret": "regret against the balanced optimum", "seconds": "seconds of planning",
    }  # fmt: skip
    figure, styles = new_figure(11, 8, dpi=110), line_styles(curves)
    figure.suptitle("10,000 clients x 64 experts, a tenth of the clients in each round")
    axes = figure.subplots(2, 2, sharex=True)
    for axis, (name, title) in zip(axes.flat, panels.items(), strict=True):
        for case, part in curves.items():
            values = np.array(part[name])
            if name in ("regret", "seconds"):  # means of ten rounds
                values = values[: values.size // 10 * 10].reshape(-1, 10).mean(axis=1)
                axis.plot(5 + 10 * np.arange(values.size), values, label=case, **styles[case])
            else:
                axis.plot(np.arange(1, values.size + 1), values, label=case, **styles[case])
        axis.set(title=title, ylabel=UNITS[name])
        if name != "regret":
            axis.set_yscale("log")
        axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("round")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                  frameon=False)
    PLOT.write_bytes(figure_bytes(figure, "png"))


if __name__ == "__main__":
    app()
