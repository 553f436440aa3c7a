"""The Markdown tables of `hard_class.py`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

Record = dict[str, Any]

#: Values that differ by less, relative, are the same: roundings of sums.
SAME = 1e-9


def tables(records: list[Record], ours: str) -> Iterator[str]:
    """Yield the lines of all tables there are records for."""
    parts = {"gap": gap_table, "yagiura": yagiura_table, "fleets": fleet_table,
             "generated": generated_table}
    for group, table in parts.items():
        limits = sorted({r["limit"] for r in records if r["group"] == group})
        for limit in limits:
            chosen = [r for r in records if r["group"] == group and r["limit"] == limit]
            yield f"\n{group}, {limit:g} s for each solve ({machine(chosen)})\n"
            yield from table(chosen, ours)


def machine(records: list[Record]) -> str:
    """Return on what the records were made."""
    found = records[-1]["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items()
                         if name in ("ortools", "numba", "numpy"))
    return f"{found['cores']} cores, Python {found['python']}, {versions}, {found['date']}"


def lines(heads: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Yield a Markdown table."""
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def percent(value: float | None) -> str:
    """Spell a share."""
    return "-" if value is None else f"{100 * value:.3f}%"


def spelled(value: float | None) -> str:
    """Spell a number of seconds or a value."""
    return "-" if value is None else f"{value:.10g}"


def apart(first: float | None, second: float | None) -> float | None:
    """Return how far two numbers are apart, over the second, or None where one is missing."""
    if first is None or second is None:
        return None
    return abs(first - second) / max(1.0, abs(second))


def gap_table(records: list[Record], ours: str) -> Iterator[str]:
    """Yield how many problems of each file are proved at the known value."""
    rows = []
    for name, backend in sorted({(r["name"], r["backend"]) for r in records}):
        part = [r for r in records if (r["name"], r["backend"]) == (name, backend)]
        proved = [r for r in part if r["status"] == "optimal"]
        right = [r for r in proved if apart(r["value"], r["best_known"]) == 0]
        seconds = [r["seconds"] for r in part]
        rows.append([name, backend, str(len(part)), str(len(proved)), str(len(right)),
                     f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"])
    yield from lines(["file", "backend", "problems", "proved", "at the known optimum",
                      "seconds, median", "slowest"], rows)


def is_better(first: Record, second: Record) -> bool:
    """Tell whether the first answer is better than the second, beyond roundings."""
    if first.get("value") is None or second.get("value") is None:
        return first.get("value") is not None and second.get("value") is None
    ahead: float = first["value"] - second["value"]
    if first["sense"] == "min":
        ahead = -ahead
    return bool(ahead > SAME * max(1.0, abs(second["value"])))


def yagiura_table(records: list[Record], ours: str) -> Iterator[str]:
    """Yield values, gaps and bounds by file and backend, and how ours compares."""
    rows = []
    for r in sorted(records, key=lambda r: (r["name"], r["backend"] != ours, r["backend"])):
        rows.append([
            r["name"], r["backend"], spelled(r["best_known"]),
            r.get("failure") or spelled(r.get("value")),
            percent(apart(r.get("value"), r["best_known"])), spelled(r.get("bound")),
            percent(apart(r.get("bound"), r["best_bound"])),
            "yes" if r["status"] == "optimal" else "no", f"{r['seconds']:.1f}",
        ])
    yield from lines(["file", "backend", "best known", "value", "gap to it", "bound",
                      "to best bound", "proved", "seconds"], rows)
    yield ""
    mine = {(r["name"], r["index"]): r for r in records if r["backend"] == ours}
    peers: dict[str, dict[tuple[str, int], Record]] = {}
    for r in records:
        if r["backend"] != ours:
            peers.setdefault(r["backend"], {})[r["name"], r["index"]] = r
    # Ours with some parts only, such as "lagrangian:search", is no peer.
    others = [part for peer, part in peers.items() if ":" not in peer]
    if len(others) > 1:
        files = {place for part in others for place in part}
        peers["the best of them"] = {
            place: best_of([part[place] for part in others if place in part])
            for place in files
        }
    for peer, theirs in peers.items():
        pairs = [(mine[place], theirs[place]) for place in mine if place in theirs]
        if pairs:
            yield f"- {compared(pairs, ours, peer)}"


def best_of(records: list[Record]) -> Record:
    """Return the record of the best answer; proved if any of them is."""
    best = records[0]
    for r in records[1:]:
        if is_better(r, best) or (r["status"] == "optimal" and not is_better(best, r)):
            best = r
    return best


def compared(pairs: list[tuple[Record, Record]], ours: str, peer: str) -> str:
    """Say on how many files the first is as good as, and better than, the second."""
    as_good = sum(not is_better(theirs, mine) for mine, theirs in pairs)
    unsolved = [(mine, theirs) for mine, theirs in pairs if theirs["status"] != "optimal"]
    better = sum(is_better(mine, theirs) for mine, theirs in unsolved)
    return (f"{ours} at least as good as {peer} on {as_good} of {len(pairs)} files, better on "
            f"{better} of the {len(unsolved)} that {peer} does not solve to optimality")


def fleet_table(records: list[Record], ours: str) -> Iterator[str]:
    """Yield times to gaps, memory and what binds, by size and backend."""
    def order(r: Record) -> tuple[int, bool, str]:
        return r["parameters"]["clients"], r["backend"] != ours, r["backend"]

    rows = []
    for r in sorted(records, key=order):
        rows.append([
            r["name"], r["backend"], spelled(r.get("to_1_percent")),
            spelled(r.get("to_0.1_percent")),
            r.get("failure") or percent(apart(r.get("value"), r.get("bound"))),
            f"{r['seconds']:.1f}", f"{r['peak_mib'] / 1024:.2f}",
            percent(r.get("budgets_binding")), percent(r.get("loads_binding")),
        ])
    yield from lines(["fleet", "backend", "seconds to 1%", "to 0.1%", "gap at the end", "seconds",
                      "peak GiB", "budgets that bind", "load bounds that bind"], rows)


def generated_table(records: list[Record], ours: str) -> Iterator[str]:
    """Yield gaps to the best bound of any backend and times to gaps, by type and size."""
    def case(r: Record) -> tuple[str, int]:
        return r["name"], r["seed"]

    bounds: dict[tuple[str, int], float] = {}
    for r in records:
        if r.get("bound") is not None:
            # Costs are minimised.
            bounds[case(r)] = max(r["bound"], bounds.get(case(r), r["bound"]))
    rows = []
    parameters = {r["name"]: r["parameters"] for r in records}
    names = sorted(parameters, key=lambda name: (name[0], *parameters[name].values()))
    for name in names:
        for backend in sorted({r["backend"] for r in records}, key=lambda b: (b != ours, b)):
            part = [r for r in records if (r["name"], r["backend"]) == (name, backend)]
            gaps = [apart(r.get("value"), bounds.get(case(r))) for r in part]
            if part:
                known = sorted(gap for gap in gaps if gap is not None)
                rows.append([
                    name, backend, f"{len(known)} of {len(part)}",
                    percent(statistics.median(known) if known else None),
                    percent(known[-1] if known else None),
                    *(middle(part, key) for key in (
                        "to_1_percent", "to_0.1_percent", "to_0.02_percent", "primal_integral")),
                ])
    yield from lines(["type, agents x jobs", "backend", "answers", "gap, median", "worst",
                      "seconds to 1%", "to 0.1%", "to 0.02%", "primal integral"], rows)


def middle(records: list[Record], key: str) -> str:
    """Spell a median of what is known; "-" where less than half is."""
    known = [r.get(key) for r in records]
    ranked = sorted(float("inf") if value is None else value for value in known)
    found = ranked[len(ranked) // 2] if ranked else float("inf")
    return spelled(None if found == float("inf") else found)
