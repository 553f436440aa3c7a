"""DIMACS, MPS and LP: other solvers, through parsers of this file's own, agree with ours."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve import io
from alignsolve.backends.milp import penalty_pieces
from alignsolve.generators import generate
from alignsolve.io.optima import read_optima
from alignsolve.model.digest import problem_digest
from tests.enumeration import Enumeration
from tests.files import assert_read_or_refused, damaged, error_of
from tests.strategies import any_problems, brute_force, flow_problems, mip_problems

WHOLE = ("integers", "ties")


# -- parsers that know nothing of alignsolve -------------------------------------------


def solve_dimacs(path):
    """Solve a file with OR-Tools; return cost, pair arcs used, and the objective's comment."""
    from ortools.graph.python import min_cost_flow

    flow, arcs, comment = min_cost_flow.SimpleMinCostFlow(), [], None
    for line in path.read_text().splitlines():
        match line.split():
            case ["c", "max" | "min", "objective", "=", *words]:
                comment = " ".join(words)
            case ["n", node, supply]:
                flow.set_node_supply(int(node), int(supply))
            case ["a", tail, head, "0", capacity, cost]:
                arcs.append((int(tail), int(head)))
                flow.add_arc_with_capacity_and_unit_cost(*arcs[-1], int(capacity), int(cost))
    if flow.solve() != flow.OPTIMAL:
        return None, [], comment
    used = [arc for number, arc in enumerate(arcs) if flow.flow(number)]
    return flow.optimal_cost(), used, comment


def read_mps(path):
    """Parse free MPS into what `scipy.optimize.milp` takes."""
    section, sense, kinds, sides = None, 1, {}, {}
    costs, entries, bounds, whole, integer = {}, [], {}, set(), False
    for line in path.read_text().splitlines():
        words = line.split()
        if line.startswith("*") or not words:
            continue
        if not line.startswith(" "):
            section = words[0]
            continue
        match section, words:
            case "OBJSENSE", [word]:
                sense = {"MAX": -1, "MIN": 1}[word]
            case "ROWS", [kind, name]:
                kinds[name] = kind
            case "COLUMNS", [_, "'MARKER'", kind]:
                integer = kind == "'INTORG'"
            case "COLUMNS", [column, row, value]:
                if row == "objective":
                    costs[column] = float(value)
                    bounds[column] = [0.0, np.inf]
                    whole |= {column} if integer else set()
                else:
                    entries.append((row, column, float(value)))
            case "RHS", [_, row, value]:
                sides[row] = float(value)
            case "BOUNDS", ["BV", _, column]:
                bounds[column] = [0.0, 1.0]
            case "BOUNDS", ["LO" | "UP" as side, _, column, value]:
                bounds[column][side == "UP"] = float(value)
            case "BOUNDS", ["MI", _, column]:
                bounds[column][0] = -np.inf
            case "BOUNDS", ["PL", _, column]:
                bounds[column][1] = np.inf
            case _:
                raise AssertionError(line)
    del kinds["objective"]
    return sense, costs, kinds, sides, entries, bounds, whole


def solve_linear(parsed):
    """Solve with HiGHS; return the objective in the file's sense, or None."""
    from scipy.optimize import LinearConstraint, milp

    sense, costs, kinds, sides, entries, bounds, whole = parsed
    column = {name: at for at, name in enumerate(costs)}
    row = {name: at for at, name in enumerate(kinds)}
    matrix = np.zeros((len(row), len(column)))
    for name, variable, value in entries:
        matrix[row[name], column[variable]] = value
    side = np.array([sides.get(name, 0.0) for name in row])
    low = np.where([kinds[name] == "L" for name in row], -np.inf, side)
    high = np.where([kinds[name] == "G" for name in row], np.inf, side)
    limits = np.array([bounds[name] for name in column])
    found = milp(sense * np.array(list(costs.values())), bounds=(limits[:, 0], limits[:, 1]),
                 constraints=LinearConstraint(matrix, low, high) if row else None,
                 integrality=np.array([name in whole for name in column]))
    assert found.status in (0, 2), found.message
    return sense * found.fun if found.status == 0 else None


def read_lp(path):
    """Parse LP text into the same as `read_mps`."""
    section, sense, kinds, sides = None, 1, {}, {}
    costs, entries, bounds, whole, name = {}, [], {}, set(), None
    for line in path.read_text().splitlines():
        words = line.split()
        if line.startswith("\\"):
            continue
        if not line.startswith(" "):
            section, sense = line, -1 if line == "Maximize" else sense
            continue
        if section == "Bounds":
            bounds[words[2]] = [float(words[0]), float(words[4])]
        elif section in ("Binaries", "Generals"):
            whole |= set(words)
            bounds |= {} if section == "Generals" else {word: [0.0, 1.0] for word in words}
        elif section in ("Maximize", "Minimize", "Subject To"):
            if words[0].endswith(":"):
                name = words.pop(0)[:-1]
            if words[-2] in ("<=", ">=", "="):
                kinds[name] = {"<=": "L", ">=": "G", "=": "E"}[words[-2]]
                sides[name] = float(words[-1])
                del words[-2:]
            for sign, value, variable in zip(*[iter(words)] * 3, strict=True):
                number = float(sign + value)
                if section == "Subject To":
                    entries.append((name, variable, number))
                else:
                    costs[variable] = number
    return sense, costs, kinds, sides, entries, bounds, whole


# -- DIMACS ------------------------------------------------------------------------------


@settings(max_examples=120)
@given(problem=flow_problems(kinds=WHOLE))
def test_a_flow_written_to_dimacs_has_our_optimum(problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("dimacs") / "flow.min"
    with warnings.catch_warnings():
        # Penalties and switching costs may be fractions that need rounding, at 2**-50 or so.
        warnings.simplefilter("ignore")
        io.write_instance(problem, path)
    best, _, _ = brute_force(problem)
    cost, used, comment = solve_dimacs(path)
    assert (cost is None) == (best is None)
    if cost is not None:
        n, m = problem.n_clients, problem.n_experts
        pairs = sum(n < head <= n + m for _, head in used)
        assert eval(comment, {"cost": cost, "pairs": pairs}) == pytest.approx(best, abs=1e-9)


def test_whole_costs_are_exact(tmp_path):
    problem = al.AlignmentProblem([[3, 1, 0], [2, -5, 0]], 1, load_penalty=0.5, load_target=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        io.write_instance(problem, tmp_path / "p.min")
    text = (tmp_path / "p.min").read_text()
    assert "rounded" not in text
    assert "nodes 1 to 2: clients; 3 to 5: experts; 6: unused slots and loads above" in text
    assert "an arc into a node 3 to 5 is a pair" in text


def test_rounded_costs_are_warned_about(tmp_path):
    fitness = np.random.default_rng(0).random((50, 4)) * 10.0 ** np.arange(4)
    problem = al.AlignmentProblem(fitness, 2)
    with pytest.warns(UserWarning, match="costs are rounded to whole multiples"):
        io.write_instance(problem, tmp_path / "p.min")


def test_what_dimacs_cannot_hold_is_refused(tmp_path):
    problem = al.AlignmentProblem([[1, 2]], 1, resources={"m": al.Resource(1, 1)})
    with pytest.raises(al.ProblemError, match=r"p.min: DIMACS holds .* because of resources"):
        io.write_instance(problem, tmp_path / "p.min")


@settings(max_examples=60)
@given(data=st.data())
def test_transportation_problems_come_back(data, tmp_path_factory):
    n, m = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    cost = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=n * m, max_size=n * m)))
    slots = data.draw(st.lists(st.integers(1, m), min_size=n, max_size=n))
    loads = data.draw(st.lists(st.integers(1, n), min_size=m, max_size=m))
    problem = al.AlignmentProblem.from_cost(cost.reshape(n, m), slots, min_experts=slots,
                                            load_min=loads, load_max=loads)
    path = tmp_path_factory.mktemp("dimacs") / "p.dmx"
    io.write_instance(problem, path)
    best, _, _ = brute_force(problem) if n * m <= 12 else (None, None, None)
    if sum(slots) != sum(loads) or best is None:
        return
    again = io.read_instance(path)
    assert again.client_ids == tuple(str(node) for node in range(1, n + 1))
    assert (again.max_experts == slots).all()
    # Costs may come back shifted by an amount per client, which is a constant.
    shift = np.unique(again.fitness - problem.fitness, axis=1)
    assert shift.shape == (n, 1)


@pytest.mark.parametrize("comment", ["", "c x\r\n", "c\n\n"])
def test_dimacs_by_hand(comment, tmp_path):
    path = tmp_path / "p.txt"
    path.write_text(f"{comment}p min 5 4\nn 1 1\nn 2 1\nn 4 -1\nn 5 -1\na 1 4 0 1 3\n"
                    f"a 1 5 0 7 -4\na 2 5 0 1 5\na 3 5 0 1 0\n")
    problem = io.read_instance(path)
    assert (problem.client_ids, problem.expert_ids) == (("1", "2"), ("4", "5"))
    assert problem.fitness.tolist() == [[-3, 4], [-np.inf, -5]]


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_dimacs_never_raises_anything_else(data, tmp_path_factory):
    content = (b"c x\np min 4 3\nn 1 1\nn 2 1\nn 3 -1\nn 4 -1\n"
               b"a 1 3 0 1 3\na 1 4 0 1 -4\na 2 4 0 1 5\n")
    path = tmp_path_factory.mktemp("damaged") / "p.min"
    path.write_bytes(data.draw(damaged(content, b"0123456789.-+e _nap\n\xff\x00")))
    assert_read_or_refused(path, io.read_instances, path)


# -- MPS and LP --------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new", "message"), [
    ("n 1 1", "n 0 1", ":2: node is 0; give a node from 1 to 4"),
    ("n 1 1", "n 1", ":2: a node line has 2 words; give `n NODE SUPPLY`"),
    ("a 1 3 0 1 5", "a 5 3 0 1 5", ":4: tail is 5; give a node from 1 to 4"),
    ("a 1 3 0 1 5", "a 1 3 0 -1 5", ":4: capacity is -1; give a whole number >= 0"),
    ("a 1 3 0 1 5", "a 1 3 -2 1 5", ":4: lower bound is -2; give a whole number >= 0"),
    ("a 1 3 0 1 5", "a 1 3 0 1", ":4: an arc line has 5 words"),
    ("p min 4 1", "p min 4 -1", ":1: number of arcs is -1; give a whole number >= 0"),
])
def test_dimacs_numbers_in_a_wrong_place(old, new, message, tmp_path):
    text = "p min 4 1\nn 1 1\nn 3 -1\na 1 3 0 1 5\n"
    (tmp_path / "p.min").write_text(text)
    assert io.read_instance(tmp_path / "p.min").fitness.tolist() == [[-5]]
    (tmp_path / "p.min").write_text(text.replace(old, new))
    with pytest.raises(al.ProblemError) as raised:
        io.read_instance(tmp_path / "p.min")
    assert message in str(raised.value)


@pytest.mark.parametrize("suffix", [".mps", ".lp"])
def test_linear_files_refuse_penalties_on_named_loads(suffix, tmp_path):
    path = tmp_path / f"p{suffix}"
    problem = MPS.replace(loads={"mb": al.Load([0.5, 2], target=1, penalty=[0, 3])})
    with pytest.raises(al.ProblemError, match=r"cannot hold the quadratic penalty of load 'mb'"):
        io.write_instance(problem, path)
    assert not path.exists()


@pytest.mark.parametrize(("suffix", "parse"), [(".mps", read_mps), (".lp", read_lp)])
@settings(max_examples=60)
@given(problem=st.one_of(flow_problems(), mip_problems()))
def test_a_linear_file_has_our_optimum(suffix, parse, problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("linear") / f"p{suffix}"
    refusal = error_of(io.write_instance, problem, path)
    if refusal is not None:
        assert "quadratic penalty" in refusal or "no client may hold" in refusal
        return
    assert max(map(len, path.read_text().splitlines())) < 500
    best, _, _ = brute_force(problem)
    found = solve_linear(parse(path))
    assert (found is None) == (best is None)
    if found is not None:
        assert found == pytest.approx(best, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("suffix", "parse"), [(".mps", read_mps), (".lp", read_lp)])
def test_a_linear_file_has_every_piece_of_a_wide_penalty(suffix, parse, monkeypatch, tmp_path):
    monkeypatch.setattr(penalty_pieces, "FEW_LOADS", 0)
    problem = al.AlignmentProblem(np.full((8, 1), 6.0), 1, load_penalty=0.5, load_target=0)
    io.write_instance(problem, tmp_path / f"p{suffix}")
    # With k holders 6 k - k**2 / 2, which is best for 6; the few pieces leave out those to 6.
    assert solve_linear(parse(tmp_path / f"p{suffix}")) == pytest.approx(18)


def kept(problem):
    """Return the value of every feasible answer."""
    found = Enumeration(problem)
    return {answer.tobytes(): gain for answer, gain in
            zip(found.answers[found.kept], found.gains[found.kept], strict=True)}


@settings(max_examples=100)
@given(problem=any_problems())
def test_an_mps_file_of_ours_is_read_back(problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("mps") / "p.mps"
    if error_of(io.write_instance, problem, path) is not None:
        return
    again = io.read_instance(path)
    assert again.sense == problem.sense
    assert kept(again) == pytest.approx(kept(problem), rel=1e-9, abs=1e-9)


def test_what_an_mps_file_says_of_a_problem(tmp_path):
    problem = al.AlignmentProblem(
        [[3, 1, -np.inf], [2, 2.5, 0]], 2, load_max=[2, 1, 1], load_penalty=[0, 0.5, 0.25],
        load_target=1, loads={"s\n's": al.Load([1, 2], max=[2, 3, 2])},
        resources={"mb": al.Resource([1, 2, 0.5], [2.5, 2])}, expert_group=[1, 0, 1],
        group_max=[1, 1], client_fitness_min=[1, -np.inf], switch_cost=0.5, held=([0], [0]))
    io.write_instance(problem, tmp_path / "p.mps")
    again = io.read_instance(tmp_path / "p.mps")
    assert set(again.loads) == set(problem.loads)
    assert again.loads["s\n's"].weight.tolist() == [1, 2]
    assert again.resources["mb"].budget.tolist() == [2.5, 2]
    assert again.expert_group.tolist() == [0, 1, 0]
    assert again.fitness[0].tolist() == [3, 1, -np.inf]
    assert again.switch_cost[0].tolist() == [0, 0.5, 0]
    assert kept(again) == pytest.approx(kept(problem))


MPS = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, min_experts=1, load_max=1)
PENALISED = MPS.replace(load_penalty=0.5, load_target=0.5)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("* Align", "* Other", ":1: is an MPS file of another writer"),
    ("2 clients", "99999999 clients", "at most 10,000,000 of each are read"),
    (" E slots_0", " E slots_7", ":8: 'slots_7' is nothing that alignsolve writes here"),
    (" E slots_0", " E steps_0", ":8: 'E steps_0' is nothing"),
    ("x_1_1 objective 2.5", "x_1_1 objective much", ":28: 'much' is nothing"),
    ("x_1_1 objective", "x_1_9 objective", ":28: 'x_1_9' is nothing"),
    ("ENDATA", "RANGES", "'RANGES' is nothing that"), ("ENDATA\n", "", "ends before ENDATA"),
    ("rhs slots_0 1.0", "rhs slots_9 1.0", "'rhs slots_9 1.0' is nothing"),
    ("BV bound x_0_0", "FR bound x_0_0", "'FR bound x_0_0' is nothing"),
    (" MAX", " MIN", "'MIN' is nothing"),
])  # fmt: skip
def test_other_mps_files_are_refused(old, new, message, tmp_path):
    path = tmp_path / "p.mps"
    io.write_instance(MPS, path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(al.ProblemError) as raised:
        io.read_instance(path)
    assert message in str(raised.value)


def test_columns_without_an_upper_bound_are_read(tmp_path):
    path = tmp_path / "p.mps"
    io.write_instance(PENALISED, path)
    plain = problem_digest(io.read_instance(path))
    text = path.read_text()
    assert "UP bound penalty_0" in text
    path.write_text(re.sub(r"UP bound (penalty_\d) .*", r"PL bound \1", text))
    assert problem_digest(io.read_instance(path)) == plain
    assert "UP bound load_0" in text
    path.write_text(re.sub(r"UP bound (load_0) .*", r"PL bound \1", text))
    assert io.read_instance(path).holder_bounds()[1].tolist() == [2, 1]


@pytest.mark.parametrize(("old", "new"), [
    ("BV bound x_0_0", "UP bound x_0_0 0"), ("BV bound x_0_0", "PL bound x_0_0"),
    ("BV bound x_0_0", f"BV bound x_{'9' * 5000}_0"), ("x_0_0 slots_0 1.0", "x_0_0 slots_0 7.0"),
    ("x_0_0 slots_0 1.0", "x_1_0 slots_0 1.0"), ("x_0_0 slots_0 1.0", "load_0 slots_0 1.0"),
    ("x_0_0 load_sum_0 1.0", "x_0_0 load_sum_0 2.0"),
    ("load_0 load_sum_0 -1.0", "load_0 load_sum_0 -2.0"),
    ("load_0 load_sum_0", "load_z load_sum_0"),
    ("load_0 load_sum_0", "load_9 load_sum_0"), ("load_0 load_sum_0", "load_1 load_sum_0"),
    ("load_0 objective 0.0", "load_0 objective 1.0"),
    ("penalty_0 objective -1.0", "penalty_0 objective -2.0"),
    ("penalty_0 penalty_0_min 1.0", "penalty_0 penalty_0_min 2.0"),
    ("UP bound load_0", "UP bound load_7"), ("RHS", "RHS\n rhs load_sum_0 1.0"),
    ("COLUMNS", " G penalty_99\nCOLUMNS"), (" penalty_0 penalty_0_min 1.0\n", ""),
    ("2 clients", "9" * 5000 + " clients"),
])  # fmt: skip
def test_changed_lines_of_mps_files_are_refused(old, new, tmp_path):
    path = tmp_path / "p.mps"
    io.write_instance(PENALISED, path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(al.ProblemError, match=r"nothing that alignsolve writes|another writer"):
        io.read_instance(path)


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_mps_files_never_raise_anything_else(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("mps") / "p.mps"
    io.write_instance(PENALISED, path)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    assert_read_or_refused(path, io.read_instances, path)


def test_names_of_loads_do_not_reach_row_names(tmp_path):
    problem = al.AlignmentProblem(
        [[1, 2], [3, 4]], 2, loads={"a b\n c": al.Load([1, 2], max=2)},
        resources={"MARKER": al.Resource([1, 2], 2)},
    )
    io.write_instance(problem, tmp_path / "p.mps")
    assert solve_linear(read_mps(tmp_path / "p.mps")) == brute_force(problem)[0]


def test_ortools_reads_the_same_from_mps(tmp_path):
    model_builder = pytest.importorskip("ortools.linear_solver.python.model_builder")
    problem = generate("skewed", seed=3, clients=40, experts=8, penalty=0.5)
    io.write_instance(problem, tmp_path / "p.mps")
    model = model_builder.Model()
    assert model.import_from_mps_file(str(tmp_path / "p.mps"))
    solver = model_builder.Solver("SCIP")
    assert solver.solve(model) == model_builder.SolveStatus.OPTIMAL
    ours = al.solve(problem, "ortools-mcf")
    assert ours.status is al.Status.OPTIMAL
    assert solver.objective_value == pytest.approx(ours.objective_value, rel=1e-7)


# -- the real thing ----------------------------------------------------------------------


def exchanged(problem, folder):
    """Return our optimum, and that of the DIMACS and MPS files solved elsewhere."""
    ours = al.solve(problem, "ortools-mcf")
    assert ours.status is al.Status.OPTIMAL
    io.write_instance(problem, folder / "p.min")
    io.write_instance(problem, folder / "p.mps")
    cost, used, comment = solve_dimacs(folder / "p.min")
    n, m = problem.n_clients, problem.n_experts
    pairs = sum(n < head <= n + m for _, head in used)
    dimacs = eval(comment, {"cost": cost, "pairs": pairs})
    return ours.objective_value, dimacs, solve_linear(read_mps(folder / "p.mps"))


def test_linear_assignment_solved_by_others(tmp_path, published):
    problem = io.read_instance(published / "orlib" / "assign100.txt")
    best = read_optima(published / "OPTIMA.csv")["orlib/assign100.txt"][1].best_known
    assert exchanged(problem, tmp_path) == (best, best, pytest.approx(best))
    again = io.read_instance(tmp_path / "p.min")
    assert again.fitness.shape == problem.fitness.shape
    assert al.solve(again, "ortools-mcf").objective_value == best


def test_a_generated_problem_solved_by_others(tmp_path):
    problem = generate("ties", seed=5, clients=60, experts=10)
    ours, dimacs, mps = exchanged(problem, tmp_path)
    assert dimacs == pytest.approx(ours, rel=1e-12)
    assert mps == pytest.approx(ours, rel=1e-7)
