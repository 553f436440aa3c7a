"""Changes of compiled kernels, each with the tests that must notice it."""

from __future__ import annotations

from dataclasses import dataclass

_T = "tests/alignsolve/"
CERTIFICATE = (f"{_T}certificate/test_claims.py", f"{_T}certificate/test_certificate.py",
               "-k", "exactly or compiled or scan or twice or only_if or refused or infinite")
EXCHANGE = (f"{_T}backends/exchange/test_kernels.py",
            f"{_T}backends/exchange/test_solve_exchange.py", "-k",
            "Responses or Steps or Lists or Newton or AgainstOthers or kernel")
FLOW = (f"{_T}infeasibility/test_max_flow.py", "-k", "given_up or larger or impossible")
ELASTIC = (f"{_T}elastic/test_kernels.py",)
MOVES = (f"{_T}elastic/test_elastic.py", "-k", "moves_never or two_clients")
KNAPSACK = (f"{_T}backends/lagrangian/test_knapsack.py",)
SETS = (f"{_T}backends/lagrangian/test_multidimensional_knapsack.py",)
PRICES = (f"{_T}backends/lagrangian/test_price_steps.py",)
SOURCES = (f"{_T}model/test_sources.py",)


@dataclass(frozen=True)
class Patch:
    """A text of a kernel, what takes its place, and the tests that must fail."""

    path: str
    old: str
    new: str
    tests: tuple[str, ...]


def _of(path: str, tests: tuple[str, ...], *changes: tuple[str, str]) -> list[Patch]:
    return [Patch(f"alignsolve/{path}", old, new, tests) for old, new in changes]


PATCHES: list[Patch] = [
    *_of(
        "certificate/row_pass_kernels.py", CERTIFICATE,
        ("            sums[0] += residual\n", "            sums[0] = max(sums[0], residual)\n"),
        ("residual += max(best[t] - empty, 0.0)", "residual += max(best[t], 0.0)"),
        ("residual += max(empty - held[t], 0.0)", "residual += 0.0"),
        ("if n_held < slot_min[i] or n_held > most:", "if n_held > most:"),
        ("if n_held < slot_min[i] or n_held > most:", "if n_held < slot_min[i]:"),
        ("if beyond == 0 and (lowest > 0 or n_held == slot_min[i]):", "if beyond == 0:"),
        ("limit = lowest if n_held == most else min(lowest, 0.0)", "limit = lowest"),
        ("while found > slot_min[i] and best[found - 1] <= empty:",
         "while found > 0 and best[found - 1] <= empty:"),
        ("found = min(found + 1, most)", "found = min(found + 1, most - 1)"),
        ("while at > 0 and sorted_values[at - 1] < value:",
         "while at > 1 and sorted_values[at - 1] < value:"),
        ("sums[0] += max(top, wanted) - least", "sums[0] += top - least"),
        ("sums[0] += max(0.0, wanted - (price - value))", "sums[0] += max(0.0, wanted)"),
        ("cuts = [chunk * n // N_CHUNKS for chunk in range(N_CHUNKS + 1)]",
         "cuts = [n // N_CHUNKS * chunk for chunk in range(N_CHUNKS + 1)]"),
    ),
    *_of(
        "model/pair_kernel.py", CERTIFICATE,
        ("            found = REPEATED\n", ""), ("if j < col:", "if j < col - 1:"),
        ("if i < row or i >= n or j < 0 or j >= m:", "if i < row or i >= n or j >= m:"),
        ("    for client in range(row, n):", "    for client in range(row, n - 1):"),
    ),
    *_of(
        "backends/exchange/row_kernels.py", EXCHANGE,
        ("none = top < 0.0", "none = top <= 1.0"), ("rest = second | number", "rest = second"),
        ("            elif top_v[t] < 0.0:\n                break\n", ""),
        ("if size < a:", "if size < a - 1:"),
        ("    for w in range(q):\n", "    for w in range(0):\n"),
        ("if count[k] < slot_max[i]:\n            s = min(s, -best)",
         "if count[k] < slot_max[i]:\n            s = min(s, best)"),
        ("if count[k] > slot_min[i]:", "if count[k] >= slot_min[i]:"),
        ("while size <= b and size < m:", "while size < b and size < m:"),
    ),
    *_of(
        "backends/exchange/bookkeeping.py", EXCHANGE,
        ("low = load_max[j] if p > 0 else load_min[j]", "low = load_min[j]"),
        ("aim = goal[j] + (p / (2.0 * penalty[j]) if", "aim = goal[j] + (p / penalty[j] if"),
        ("        rest -= excess[j]\n", "        rest += excess[j]\n"),
        ("slack[k] = (slack[k] - drop) * _BELOW", "slack[k] = slack[k] - drop"),
        ("if at < ptr[k + 1]:", "if at < ptr[k + 1] - 1:"),
        ("while place > first and col_ind[place - 1] > j:", "while False:"),
    ),
    *_of(
        "backends/exchange/heaps.py", EXCHANGE,
        ("if u == m and (h == m or count[k] <= slot_min[i]):",
         "if u == m and (h == m or count[k] < slot_min[i]):"),
        ("                        sentinel[h, u] = loss\n", ""),
    ),
    *_of(
        "backends/exchange/swaps.py", EXCHANGE,
        ("wanted = takes_null and g != m and (all_new or h == m)",
         "wanted = takes_null and g != m and all_new"),
    ),
    *_of(
        "backends/exchange/paths.py", (*EXCHANGE[:-2], *PRICES, *EXCHANGE[-2:-1],
                                       EXCHANGE[-1] + " or penalties"),
        ("penalty[j] * (1.0 - 2.0 * d)", "-penalty[j] * (1.0 + 2.0 * d)"),
        ("if h == m and u < m and load[u] > load_min[u]:",
         "if h == m and u < m and load[u] >= load_min[u]:"),
        ("price[j] += shift - (min(dist[j], reach) if done[j] else reach)",
         "price[j] += shift - (min(dist[j], reach) if done[j] else 0.0)"),
    ),
    *_of(
        "infeasibility/max_flow_kernels.py", FLOW,
        ("if through and net.client_room[i] > 0:\n", "if through:\n"),
        ("            net.group_back[i, net.group[j]] -= 1\n", ""),
        ("        net.need[experts[depth]] += 1\n", "        net.need[experts[depth]] += 0\n"),
        ("            net.client_room[i] -= 1\n", ""),
        ("while total < client_low[i]:", "while total < client_low[i] - 1:"),
    ),
    *_of(
        "elastic/kernels.py", ELASTIC,
        ("if low > 0 and gain[low - 1] <= -reward:", "if low > 0 and gain[low - 1] < 0:"),
        ("earned = gain[k] + (clients.reward[i] if k < clients.low[i] else 0)", "earned = gain[k]"),
        ("    if threshold > -reward:\n        return threshold, low, low\n", ""),
    ),
    *_of(
        "elastic/moves.py", MOVES,
        ("over = max(over, 0.0) + amount - high", "over = high - amount"),
        ("if after > block.cap[r, i] and", "if after > block.cap[r, i] + 1 and"),
        ("        held[i, drop] = False\n", "        pass\n"),
    ),
    *_of(
        "backends/lagrangian/knapsack.py", KNAPSACK,
        ("                bound += u * left\n", "                bound += 0.0\n"),
        ("for c in range(cap, size - 1, -1):", "for c in range(cap, size, -1):"),
        ("if with_it > table[c]:", "if with_it < table[c]:"),
        ("for c in range(cap + 1):\n        best", "for c in range(cap):\n        best"),
    ),
    *_of(
        "backends/lagrangian/set_search.py", SETS,
        ("if use > work.cap[i] or use < work.cap[i] - work.room[i]:", "if use > work.cap[i]:"),
        ("        below += min(0.0, a)", "        below += a"),
        ("        smallest = min(smallest, a)", "        smallest = a"),
        ("        if gain <= -room:\n", "        if gain <= room:\n"),
    ),
    *_of(
        "backends/lagrangian/best_response_kernels.py", PRICES,
        ("return min(0.0, price - step * low)", "return price - step * low"),
        ("off = max(load - high, low - load, 0.0)", "off = max(load - high, 0.0)"),
        ("saved += 0.5 * (demand[c] + left[c]) * step[c]", "saved += demand[c] * step[c]"),
        ("elif amount < low[c]:", "elif amount > low[c]:"),
    ),
    *_of(
        "model/sources/factor_kernels.py", SOURCES,
        ("out[i, j] += f * weights[k, j]", "out[i, j] = f * weights[k, j]"),
        ("total[0] += features[t, k] * weights[k, j]", "total[0] = features[t, k] * weights[k, j]"),
    ),
]
