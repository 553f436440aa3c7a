"""Bad inputs, each with the message it gets; `docs/errors.md` is made from these tables.

To write the document anew: ``python tests/alignsolve/model/test_bad_inputs.py``.
"""

from __future__ import annotations

import io as streams
import math
import os
import shlex
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import alignsolve as al
from alignsolve import io
from alignsolve.cli import main
from tests.alignsolve.model import containers

DOCUMENT = Path(__file__).parents[3] / "docs" / "errors.md"

#: What the expressions below may name.
SMALL = al.AlignmentProblem([[1, 2], [3, 4]], 1, load_max=1)
NAMES = {
    "al": al,
    "io": io,
    "np": np,
    "pd": containers.pd,
    "torch": containers.torch,
    "sparse": sp.csr_array((1, 2)),
    "Decimal": Decimal,
    "nan": math.nan,
    "inf": math.inf,
    "problem": SMALL,
    "mip": al.AlignmentProblem([[1, 2], [3, 4]], 1, resources={"mb": al.Resource(1, 8)}),
    "penalised": al.AlignmentProblem([[1, 2]], 1, loads={"samples": al.Load(10, penalty=1)}),
    "solution": io.Solution(np.array([0, 1]), np.array([0, 1])),
}

#: Arguments of the constructor: expression, message.
CONSTRUCTOR = [
    ("al.AlignmentProblem([1, 2, 3], 1)",
     "fitness has 1 dimensions; give a matrix of clients x experts"),
    ("al.AlignmentProblem([[1, 2], [3]], 1)",
     "fitness is not a rectangular array of numbers; give rows of one length"),
    ("al.AlignmentProblem([['a', 'b']], 1)",
     "fitness holds text; give real numbers (float64, float32 or integers)"),
    ("al.AlignmentProblem([[1, nan], [3, 4]], 1)",
     "fitness[0, 1] is nan; give finite numbers, or -inf to forbid the pair"),
    ("al.AlignmentProblem([[1, 2], [inf, 4]], 1)",
     "fitness[1, 0] is inf; give finite numbers, or -inf to forbid the pair"),
    ("al.AlignmentProblem([[1j, 2]], 1)",
     "fitness has dtype complex128; give real numbers (float64, float32 or integers)"),
    ("al.AlignmentProblem([[1, None]], 1)",
     "fitness[0, 1] is None; give real numbers (float64, float32 or integers)"),
    ("al.AlignmentProblem([[1, Decimal('0.1')]], 1)",
     "fitness[0, 1] is Decimal('0.1'), which float64 does not hold exactly; to round it, give "
     "np.asarray(values, dtype=float)"),
    ("al.AlignmentProblem(sparse, 1)",
     "fitness is a SciPy sparse matrix; give al.SparseSource(fitness), where pairs that are "
     "not stored are forbidden, or fitness.toarray(), where they are 0"),
    ("al.AlignmentProblem(torch.eye(2).to_sparse(), 1)",
     "fitness is a sparse tensor; give al.SparseSource(...) of a SciPy matrix, where pairs that "
     "are not stored are forbidden, or fitness.to_dense(), where they are 0"),
    ("al.AlignmentProblem(torch.empty(2, 2, device='meta'), 1)",
     "fitness is a tensor on the device meta, which has no values; give a tensor on the CPU"),
    ("al.AlignmentProblem(pd.DataFrame({'x': pd.array([1, None], 'Int64')}), 1)",
     "fitness column 'x'[1] is missing; give a number, or -inf for a forbidden pair"),
    ("al.AlignmentProblem(None, 1)",
     "fitness is None; give real numbers (float64, float32 or integers)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], [1, 2, 3])",
     "max_experts has shape (3,); give a scalar or shape (2,) (one per client)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], -1)",
     "max_experts is -1; give a whole number >= 0"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], [1, 1.5])",
     "max_experts[1] is 1.5; give a whole number >= 0"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], [1, nan])",
     "max_experts[1] is nan; give a whole number >= 0"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], [1, 2**53])",
     "max_experts[1] is 9007199254740992; give a whole number below 2**53, from where on float64 "
     "does not hold them all"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], np.ma.array([1, 1], mask=[0, 1]))",
     "max_experts[1] is masked; give every entry, with array.filled(...): only fitness and cost "
     "may be masked, where it forbids the pair"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], pd.Series([1, 1], ['a', 'c']), client_ids=['a', 'b'])",
     "max_experts has no label 'b'; label it by client_ids, each once, or give .to_numpy() to go "
     "by position"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 'two')",
     "max_experts holds text; give real numbers (float64, float32 or integers)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], [[1], [1]])",
     "max_experts has shape (2, 1); give a scalar or shape (2,) (one per client)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], None)",
     "max_experts is None; give real numbers (float64, float32 or integers)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, min_experts=-1)",
     "min_experts is -1; give a whole number >= 0"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, load_max=[1, 2, 3])",
     "load_max has shape (3,); give a scalar or shape (2,) (one per expert)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, load_max=nan)",
     "load_max is nan; give a number, or inf for none"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, load_min=[0, 'x'])",
     "load_min holds text; give real numbers (float64, float32 or integers)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, load_penalty=-0.5)",
     "load_penalty is -0.5; give a finite penalty >= 0"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, load_target=inf)",
     "load_target is inf; give a finite load"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, load_penalty=1, load_target=[1, 1e17])",
     "load_target[1] is 1e+17; with a penalty, give at most 1e+15 in size: beyond, float64 loses "
     "what one client adds"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, load_target=[1, -1e300])",
     "load_target[1] is -1e+300; sums of squares would overflow: give the load in a larger unit"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, load_penalty=[0, 1e308], load_target=8)",
     "load_penalty[1] is 1e+308; sums would overflow: give at most 5e+303"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, loads={'samples': 3})",
     "loads['samples'] is int; give al.Load(...)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, loads=[al.Load(1)])",
     "loads is list; give a mapping of names to Load"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, loads={'': al.Load(1)})",
     "loads has the name ''; give a non-empty string"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, loads={'samples': al.Load([1, -2])})",
     "loads['samples'].weight[1] is -2; give a finite weight >= 0"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, loads={'mb': al.Load([1, 1e200], penalty=1)})",
     "loads['mb'].weight[1] is 1e+200; sums of squares would overflow: give the load in a larger "
     "unit"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, loads={'mb': al.Load(20, penalty=1, target=-3e16)})",
     "loads['mb'].target[0] is -3e+16; with a penalty, give at most 2e+16 in size: beyond, float64 "
     "loses what one client adds"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, loads={'samples': al.Load(1, max=nan)})",
     "loads['samples'].max is nan; give a number, or inf for none"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, resources={'mb': al.Resource([1, 2, 3], 8)})",
     "resources['mb'].size has shape (3,); give a scalar or an array that broadcasts to (2, 2) "
     "(clients x experts)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, resources={'mb': al.Resource([1, -2], 8)})",
     "resources['mb'].size[1] is -2; give a finite size >= 0"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, resources={'mb': al.Resource(1, [8, nan])})",
     "resources['mb'].budget[1] is nan; give a number, or inf for no limit"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, expert_group=0)",
     "expert_group is a scalar; give 2 group numbers, one per expert"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, expert_group=[0, 2])",
     "expert_group names no expert of group 1; number the groups 0, 1, 2, ... without gaps"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, group_max=1)",
     "group_min and group_max need expert_group (a group per expert)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, expert_group=[0, 1], group_max=[1, 1, 1])",
     "group_max has shape (3,); give a scalar or an array that broadcasts to (2, 2) (clients x "
     "groups)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, client_fitness_min=[0, nan])",
     "client_fitness_min[1] is nan; give a number, or inf for none"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, held=3)",
     "held has shape (); give (2, 2)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, held=([0, 5], [0, 1]))",
     "held row [1] is 5; give 0 to 1"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, held=([0.5], [1]))",
     "held has a fractional row index; give integers"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, held=([0], [1, 1]))",
     "held has (1,) rows and (2,) cols; give two index arrays of one length"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, held=[[True, False]])",
     "held has shape (1, 2); give (2, 2)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, switch_cost=-1)",
     "switch_cost is -1; give a finite cost >= 0"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, switch_cost=[[1, 2, 3]])",
     "switch_cost has shape (1, 3); give a scalar or an array that broadcasts to (2, 2) "
     "(clients x experts)"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, client_ids=['a'])",
     "client_ids has 1 entries; give 2"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, client_ids=['a', 'a'])",
     "client_ids[1] repeats 'a'; ids must be distinct"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, client_ids=['anna', 'anna '])",
     "client_ids[1] 'anna ' has white space at an end and looks like 'anna'; leave it out"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, client_ids=['an\\xadna', 'anna'])",
     "client_ids[0] 'an\\xadna' holds the invisible U+00AD and looks like 'anna'; leave it out"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, client_ids=['Zo\\xeb', 'Zoe\\u0308'])",
     "client_ids[1] 'Zoe\\u0308' looks like 'Zo\\xeb': they differ only by Unicode normalisation "
     "or in white space; write each id in one way"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, expert_ids=['', 'x'])",
     "expert_ids[0] '' is empty; give a string or a whole number"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, client_ids=['a', None])",
     "client_ids[1] is None; give a string or a whole number"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, client_ids=[1.0, nan])",
     "client_ids[1] is nan; give a string or a whole number"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, expert_ids='ab')",
     "expert_ids is one string; give a sequence of 2 ids"),
    ("al.AlignmentProblem([[1, 2], [3, 4]], 1, expert_ids=7)",
     "expert_ids is int; give a sequence of 2 ids"),
    ("al.AlignmentProblem.from_cost([[1, -inf]], 1)",
     "cost[0, 1] is -inf; give finite costs, or +inf to forbid the pair"),
    ("al.AlignmentProblem.from_cost([[1, nan]], 1)",
     "cost[0, 1] is nan; give finite costs, or +inf to forbid the pair"),
    ("al.AlignmentProblem.from_cost([[1, 2]], 1, client_fitness_min=0)",
     "from_cost takes client_cost_max in place of client_fitness_min"),
    ("al.AlignmentProblem.from_cost([[1, 2]], 1, client_cost_max=[1, 2])",
     "client_cost_max has shape (2,); give a scalar or shape (1,) (one per client)"),
    ("problem.replace(load_max=[1])",
     "load_max has shape (1,); give a scalar or shape (2,) (one per expert)"),
]

#: Arguments of other functions: expression, message.
FUNCTIONS = [
    ("al.solve([[1, 2], [3, 4]])",
     "problem is list; give an AlignmentProblem"),
    ("al.solve(problem, backend='gurobi')",
     "there is no backend 'gurobi'; choose one of auto, exchange, ortools-mcf, lagrangian, "
     "ortools-cpsat, ortools-mip, ortools-scip, scipy-milp, scipy-lsa, networkx, greedy"),
    ("al.solve(problem, backend=None)",
     "backend is None; give a name such as 'auto'"),
    ("al.solve(problem, time_limit=-1)",
     "time_limit is -1; give seconds >= 0, or None"),
    ("al.solve(problem, time_limit=nan)",
     "time_limit is nan; give seconds >= 0, or None"),
    ("al.solve(problem, time_limit='1 s')",
     "time_limit is '1 s'; give seconds >= 0, or None"),
    ("al.solve(problem, rel_gap=inf)",
     "rel_gap is inf; give a finite number >= 0"),
    ("al.solve(problem, rel_gap=-1)",
     "rel_gap is -1; give a finite number >= 0"),
    ("al.solve(problem, threads=0)",
     "threads is 0; give a whole number >= 1, or None"),
    ("al.solve(problem, threads=1.5)",
     "threads is 1.5; give a whole number >= 1, or None"),
    ("al.solve(problem, seed=-1)",
     "seed is -1; give a whole number from 0 to 2**31 - 1"),
    ("al.solve(problem, seed=0.5)",
     "seed is 0.5; give a whole number from 0 to 2**31 - 1"),
    ("al.solve(problem, warm_start=[0, 1])",
     "warm_start is neither a Result, a Plan or a Solution nor a tuple (row_ind, col_ind[, "
     "prices])"),
    ("al.solve(problem, warm_start=([0], [9]))",
     "col_ind[0] is 9; give 0 to 1"),
    ("al.solve(mip, backend='scipy-lsa')",
     "backend 'scipy-lsa' does not support resources; use backend='auto'"),
    ("al.solve(mip, backend='ortools-mcf')",
     "backend 'ortools-mcf' does not support resources; use backend='auto'"),
    ("al.Aligner(1).plan(['a'], fitness=[['x']])",
     "fitness holds text; give real numbers (float64, float32 or integers)"),
    ("al.Aligner(1).plan(['a'], fitness=[[1j]])",
     "fitness has dtype complex128; give real numbers (float64, float32 or integers)"),
    ("al.certify(problem, [0, 1], [0])",
     "row_ind has shape (2,) and col_ind (1,); give two index arrays of one length"),
    ("al.certify(problem, [0, 2], [0, 1])",
     "row_ind[1] is 2; give 0 to 1"),
    ("al.certify(problem, [0, 1], [0.0, 1.0])",
     "col_ind has dtype float64; give integers"),
    ("al.certify(problem, [0, 1], [0, 1], prices=[1])",
     "prices has shape (1,); give shape (2,), one per expert"),
    ("al.certify(problem, [0, 1], [0, 1], prices=[1, nan])",
     "prices[1] is not finite; give finite prices"),
    ("al.certify(problem, [0, 1], [0, 1], prices=['a', 'b'])",
     "prices holds text; give real numbers (float64, float32 or integers)"),
    ("al.Aligner(1).plan(['anna', 'anna\\xa0'])",
     "client 'anna\\xa0' holds the invisible U+00A0 and looks like 'anna'; leave it out"),
    ("al.Aligner(1).plan([''])",
     "client '' is empty; give a string or a whole number"),
    ("io.read_instances('p.json', sense='up')",
     "sense is 'up'; give 'max', 'min' or None"),
    ("io.read_instance('gap.txt', sense='max')",
     "gap.txt: holds 2 problems; use read_instances and choose one"),
    ("io.write_instance([[1, 2]], 'q.json')",
     "problem is list; give an AlignmentProblem"),
    ("io.write_instance(problem, 'q.xls')",
     "q.xls: suffix '.xls' is not written; give one of .json, .npz, .csv, .tsv, .parquet, "
     ".min, .dmx, .dimacs, .mps, .lp"),
    ("io.write_instance(problem, 'q')",
     "q: has no suffix; give one of .json, .npz, .csv, .tsv, .parquet, .min, .dmx, .dimacs, "
     ".mps, .lp"),
    ("io.write_instance(problem, 'missing/q.json')",
     "missing/q.json: cannot be written: no such file or directory"),
    ("io.write_instance(mip, 'q.min')",
     "q.min: DIMACS holds minimum-cost flows, but the problem is not a flow because of "
     "resources; write .mps or .lp"),
    ("io.write_instance(penalised, 'q.lp')",
     "q.lp: a linear file cannot hold the quadratic penalty of load 'samples'; write JSON or "
     "npz, or set the penalty to 0"),
    ("io.write_instance(mip.replace(client_fitness_min=[0, inf]), 'q.lp')",
     "q.lp: no answer keeps the infinite bound on fairness[1], which a linear file cannot hold; "
     "give a finite one"),
    ("io.write_instance(penalised.replace(loads={'mb': al.Load(1, min=[3, inf])}), 'q.mps')",
     "q.mps: no answer keeps the infinite bound on load mb[1], which a linear file cannot hold; "
     "give a finite one"),
    ("io.write_solution(solution, 'q.txt', problem)",
     "q.txt: suffix '.txt' is not that of a solution; give .json, or .csv for the pairs alone"),
    ("io.write_solution(solution, 'q.json')",
     "write_solution needs the problem of a Solution"),
]

#: A well-formed JSON problem, and what is changed in it.
PROBLEM = ('{"format": "alignsolve-problem", "version": 1, "sense": "max", "dtype": "float64", '
           '"n_clients": 2, "n_experts": 2, "max_experts": 1, "fitness": [[1, 2], [3, 4]]}')

#: JSON problems: what stands in `PROBLEM`, what stands there instead, message.
JSON = [
    ('"max_experts": 1',
     '"max_expert": 1',
     "p.json: unknown key 'max_expert'; did you mean 'max_experts'?"),
    ('"max_experts": 1, ',
     "",
     'p.json: key "max_experts" is missing'),
    ('"sense"',
     '"dtype"',
     "p.json: key 'dtype' appears twice in one object"),
    ('"max"',
     '"up"',
     "p.json: key \"sense\" is 'up'; give \"max\" or \"min\""),
    ('"sense": "max", ',
     "",
     'p.json: key "sense" is missing; give "max" or "min"'),
    ('"max"',
     '"min"',
     'p.json: key "fitness" is there, but sense "min" takes "cost" in its place'),
    ('"max"',
     "-Infinity",
     'p.json:1:57: -Infinity is not JSON; write numbers, "inf" or "-inf"'),
    ("alignsolve-problem",
     "other",
     "p.json: key \"format\" is 'other'; give \"alignsolve-problem\""),
    ('"version": 1',
     '"version": 2',
     'p.json: key "version" is 2; this alignsolve reads 1 to 1'),
    ("float64",
     "float16",
     "p.json: key \"dtype\" is 'float16'; give \"float64\" or \"float32\""),
    ('"n_clients": 2',
     '"n_clients": -2',
     'p.json: key "n_clients" is -2; give a whole number >= 0'),
    ('"n_clients": 2',
     '"n_clients": 3',
     "p.json: fitness has shape (2, 2), but n_clients and n_experts declare (3, 2)"),
    ('"n_clients": 2',
     '"n_clients": 2.5',
     'p.json: key "n_clients" is 2.5; give a whole number >= 0'),
    ('"n_clients": 2',
     '"n_clients": 99999999999',
     "p.json: declares 99,999,999,999 clients x 2 experts; at most 10,000,000 of each are read"),
    ("[3, 4]",
     "[3]",
     "p.json: fitness[1] has 1 entries, but fitness[0] has 2"),
    ("[3, 4]",
     '[3, "x"]',
     "p.json: fitness[1][1] is 'x'; give a number, \"inf\" or \"-inf\""),
    ("[3, 4]",
     "[3, null]",
     'p.json: fitness[1][1] is null; give a number, "inf" or "-inf"'),
    ("[3, 4]",
     "[3, true]",
     'p.json: fitness[1][1] is true or false; give a number, "inf" or "-inf"'),
    ("[3, 4]",
     "[3, 1e999]",
     "p.json: fitness[1][1] is a number beyond 1e308; give a smaller one"),
    ("[3, 4]",
     "[3, [4]]",
     "p.json: fitness[1][1] is nested more than twice; give a list or a list of rows"),
    ("[3, 4]",
     '[3, "inf"]',
     "p.json: fitness[1, 1] is inf; give finite numbers, or -inf to forbid the pair"),
    ("[3, 4]",
     "[3, NaN]",
     'p.json:1:158: NaN is not JSON; write numbers, "inf" or "-inf"'),
    ("[[1, 2], [3, 4]]",
     '"[1, 2]"',
     "p.json: fitness is '[1, 2]'; give a number, \"inf\" or \"-inf\""),
    ('"max_experts": 1',
     '"max_experts": [1, -1]',
     "p.json: max_experts[1] is -1; give a whole number >= 0"),
    ('"max_experts": 1',
     '"max_experts": 1, "max_experts": 2',
     "p.json: key 'max_experts' appears twice in one object"),
    ('"max_experts": 1',
     '"max_experts": 1, "load_max": [1, 2, 3]',
     "p.json: load_max has shape (3,); give a scalar or shape (2,) (one per expert)"),
    ('"max_experts": 1',
     '"max_experts": 1, "loads": []',
     "p.json: loads is a list; give an object of names"),
    ('"max_experts": 1',
     '"max_experts": 1, "loads": {"s": {"min": 1}}',
     'p.json: key "loads.s.weight" is missing'),
    ('"max_experts": 1',
     '"max_experts": 1, "resources": {"mb": {"size": 1, "budget": 8, "unit": 3}}',
     "p.json: unknown key 'resources.mb.unit'; known: budget, size"),
    ('"max_experts": 1',
     '"max_experts": 1, "client_ids": "ab"',
     "p.json: client_ids is a string; give a list of strings"),
    ('"max_experts": 1',
     '"max_experts": 1, "client_ids": ["a", 2]',
     "p.json: client_ids[1] is a number; give a string"),
    ('"max_experts": 1',
     '"max_experts": 1, "client_ids": ["a", "a"]',
     "p.json: client_ids[1] repeats 'a'; ids must be distinct"),
    ('"max_experts": 1',
     '"max_experts": 1, "client_ids": ["a", null]',
     "p.json: client_ids[1] is null; give a string"),
    ('"max_experts": 1',
     '"max_experts": 1, "client_ids": ["a", "a\\u200b"]',
     "p.json: client_ids[1] 'a\\u200b' holds the invisible U+200B and looks like 'a'; leave it "
     "out"),
    ('"max_experts": 1',
     '"max_experts": 1, "held": {"rows": [0]}',
     'p.json: key "held.cols" is missing'),
    ('"max_experts": 1',
     '"max_experts": 1, "held": {"rows": [0], "cols": [7]}',
     "p.json: held column [0] is 7; give 0 to 1"),
    ('"max_experts": 1',
     '"max_experts": 1, "held": 3',
     "p.json: held is a number; give an object"),
    ('"max_experts": 1',
     '"max_experts": 1, "client_cost_max": 3',
     'p.json: key "client_cost_max" is there, but sense "max" takes "client_fitness_min" in '
     "its place"),
    ("3, 4]]}",
     "3, 4",
     "p.json:1:159: not JSON: expecting ',' delimiter"),
    ("3, 4]]}",
     "3, 4]]}}",
     "p.json:1:162: not JSON: extra data"),
]

#: Files: name, content, message.
FILES = [
    ("q.json",
     "",
     "q.json: is empty; give an instance"),
    ("q.json",
     "[1, 2]",
     'q.json: holds a list; give an object with the key "format"'),
    ("q.json",
     '{"fitness": [[1]]}',
     'q.json: key "format" is missing; give "alignsolve-problem"'),
    ("q.json",
     b'\xff\xfe{\x00}\x00',
     "q.json: is UTF-16 text; save it as UTF-8"),
    ("q.json",
     b'{"format": "\xe9"}',
     "q.json:1:13: byte 0xe9 is not UTF-8 text; save the file as UTF-8"),
    ("q.json",
     b'{"a":\n "\x00"}',
     "q.json:2:3: holds a null character, so it is not a text file"),
    ("q.npz",
     b'PK\x03\x04 not really',
     "q.npz: is not a complete npz archive: file is not a zip file"),
    ("q.npz",
     b'\x93NUMPY',
     "q.npz: is not a complete npz archive: file is not a zip file"),
    ("s.csv",
     "\n",
     "s.csv: is empty; the first line names the columns: client, expert, ..."),
    ("s.csv",
     "a,b,c\n",
     "s.csv:1: unknown column 'a'; known: client, expert, fitness, cost, held, switch_cost, "
     "size:NAME"),
    ("s.csv",
     "client,fitness\na,1\n",
     "s.csv:1: column 'expert' is missing"),
    ("s.csv",
     "client,expert\na,x\n",
     "s.csv:1: column 'fitness' (to be maximised) or 'cost' (to be minimised) is missing"),
    ("s.csv",
     "client,expert,fitness,cost\na,x,1,1\n",
     "s.csv:1: has both a column 'fitness' and a column 'cost'; give one"),
    ("s.csv",
     "client,expert,fitnes\na,x,1\n",
     "s.csv:1: unknown column 'fitnes'; did you mean 'fitness'?"),
    ("s.csv",
     "client,expert,fitness,fitness\na,x,1,1\n",
     "s.csv:1: column 'fitness' appears twice"),
    ("s.csv",
     "client,expert,fitness\na,x,1\na,y\n",
     "s.csv:3: 2 cells under 3 columns"),
    ("s.csv",
     "client,expert,fitness\na,x,1\na,y,high\n",
     "s.csv:3: fitness is 'high'; give a number, inf or -inf"),
    ("s.csv",
     "client,expert,fitness\na,x,1\na,y,\n",
     "s.csv:3: fitness is empty; give a number, inf or -inf"),
    ("s.csv",
     "client,expert,fitness\na,x,nan\n",
     "s.csv:2: fitness is 'nan'; give a number, inf or -inf"),
    ("s.csv",
     "client,expert,fitness\na,x,inf\n",
     "s.csv: fitness[0, 0] is inf; give finite numbers, or -inf to forbid the pair"),
    ("s.csv",
     "client,expert,fitness\na,x,1\na,y,2\na,x,3\n",
     "s.csv:4: client 'a' and expert 'x' appear twice; first in row 2"),
    ("s.csv",
     "client,expert,fitness\nanna,x,1\nanna ,y,2\n",
     "s.csv:3: client 'anna ' has white space at an end and looks like 'anna'; leave it out"),
    ("s.csv",
     "client,expert,fitness\n,x,1\n",
     "s.csv:2: client '' is empty; give a string or a whole number"),
    ("s.csv",
     'client,expert,fitness\n"a,x,1\n',
     "s.csv:2: not CSV: unexpected end of data"),
    ("s.csv",
     "client,expert,fitness,held\na,x,1,2\n",
     "s.csv:2: held is 2; give 0 or 1"),
    ("s.csv",
     "client,expert,fitness,size:mb\na,x,1,2\n",
     "s.csv: resource 'mb' needs a column 'budget:mb' in the table of clients and 'size:mb' in "
     "that of experts or pairs"),
    ("g.txt",
     "2 3\n1 2 3\n4 5 6\n7 8 9\n10 11 12\n20 30\n",
     "g.txt: a generalized assignment file does not say whether its values are profits or "
     "costs; give sense max or min (--sense max)"),
    ("g.txt",
     "2 3\n1 2 3\n4 5 6\n7 8 9\n",
     "g.txt:4:6: problem 1 declares 2 agents x 3 jobs, which takes 14 numbers, but the file "
     "ends after 9"),
    ("g.txt",
     "1\n2 3\n1 2 3\n4 5 6\n7 8 9\n10 11 12\n20 30\n99 98\n",
     "g.txt:8:1: the file goes on after its last problem"),
    ("g.txt",
     "1\n2 2\n1 2\n3 x\n1 1\n1 1\n5 5\n",
     "g.txt:4:3: 'x' is not a finite number"),
    ("g.txt",
     "0 3\n",
     "g.txt:1:1: the number of agents of problem 1 is 0; give a whole number >= 1"),
    ("g.txt",
     "3000000000 3000000000\n1 2 3\n",
     "g.txt: declares 3,000,000,000 clients x 3,000,000,000 experts; at most 10,000,000 of "
     "each are read"),
    ("g.txt",
     "2 3 4\n5 6 7\n",
     "g.txt:1: is not an OR-Library file: neither `m n` and the numbers of a generalized "
     "assignment problem, nor `n` and those of a linear one"),
    ("a.txt",
     "3\n1 2 3\n4 5 6\n7 8\n",
     "a.txt:4:4: a linear assignment of 3 rows takes 9 costs, but the file has 8"),
    ("a.txt",
     "4\n1 2 5\n1 9 6\n",
     "a.txt:3:3: column 9 is not one of 1 to 4"),
    ("a.txt",
     "4\n1 2 5\n1 2 6\n",
     "a.txt:3:1: pair 1 2 is listed twice"),
    ("a.txt",
     "4\n1 2 5\n1 3\n",
     "a.txt:3:4: the last entry is incomplete; give `row column cost`"),
    ("a.txt",
     "9000000\n1 2 5\n2 1 5\n",
     "a.txt: declares 9,000,000 x 9,000,000 pairs and lists 2; at most 1000 cells are made for "
     "each listed pair"),
    ("a.txt",
     "3\n1 2 3\n4 nan 6\n7 8 9\n",
     "a.txt:3:3: 'nan' is not a finite number"),
    ("a.txt",
     "hello world\n",
     "a.txt: is in no known format; it starts with 'hello world\\n'"),
    ("a.txt",
     "",
     "a.txt: is empty; give an instance"),
    ("f.min",
     "c nothing\n",
     "f.min: has no line `p min NODES ARCS`"),
    ("f.min",
     "p max 2 1\n",
     "f.min:1: 'p max 2 1' is not `p min NODES ARCS`: only minimum-cost flow problems are read"),
    ("f.min",
     "n 1 1\n",
     "f.min:1: the first line that is no comment is not `p min NODES ARCS`"),
    ("f.min",
     "p min 2 1\nn 1 1\nn 2 -1\n",
     "f.min: declares 1 arcs and has 0; the file is truncated, or the problem line wrong"),
    ("f.min",
     "p min 2 1\nn 1 1\nn 3 -1\na 1 2 0 1 1\n",
     "f.min:3: node is 3; give a node from 1 to 2"),
    ("f.min",
     "p min 2 1\nn 1 1\nn 2 -1\na 1 2 0 1 1.5\n",
     "f.min:4: cost is '1.5'; give a whole number"),
    ("f.min",
     "p min 3 2\nn 1 1\nn 3 -1\na 1 2 0 1 1\na 2 3 0 1 1\n",
     "f.min: node 2 has arcs in and out: a transshipment problem, not an assignment"),
    ("f.min",
     "p min 2 1\nn 1 2\nn 2 -2\na 1 2 0 2 1\n",
     "f.min:4: an arc may carry 2 units: a client holds an expert once; give capacity 1"),
    ("f.min",
     "p min 2 1\nn 1 1\nn 2 -1\na 1 2 1 1 1\n",
     "f.min:4: an arc has lower bound 1: no pair of an assignment is forced; give 0"),
    ("f.min",
     "p min 2 1\nn 1 1\nn 2 -1\na 1 2 2 1 1\n",
     "f.min:4: an arc has lower bound 2 above its capacity 1"),
    ("f.min",
     "p min 2 1\nn 1 1\nn 1 1\na 1 2 0 1 1\n",
     "f.min:3: node 1 is given a supply twice"),
    ("f.min",
     "p min 2 1\nn 1 99999999999999999999\na 1 2 0 1 1\n",
     "f.min:2: supply is 99999999999999999999; give a whole number up to 2**53"),
    ("f.min",
     "p min -2 1\n",
     "f.min:1: number of nodes is -2; give a whole number >= 0"),
    ("f.min",
     "p min 2 1\nq 1 2\n",
     "f.min:2:1: a line starts with 'q'; give c, p, n or a"),
    ("f.min",
     "p min 2 1\na 1 2 0 1\n",
     "f.min:2: an arc line has 5 words; give `a FROM TO LOWER CAPACITY COST`"),
    ("f.min",
     "p min 2 0\n",
     "f.min: no node has a supply, or none a demand; give lines `n NODE SUPPLY` of both"),
    ("m.mps",
     "NAME x\n",
     "m.mps:1: is an MPS file of another writer; alignsolve reads back those that it wrote, which "
     "begin with what they are"),
    ("m.lp",
     "Minimize\n",
     "m.lp: has format LP, which is written for other solvers but not read"),
    ("x.bin",
     b'\x00\x01\x02',
     "x.bin: is in no known format; it starts with '\\x00\\x01\\x02'"),
    ("x.toml",
     'name = "x"\nfamily = "unifrm"\nseed = 1\n',
     "x.toml: there is no family 'unifrm'; did you mean 'uniform'?"),
    ("x.toml",
     'name = "x"\nfamily = "uniform"\nseed = 1\n[parameters]\nclients = -3\n',
     "x.toml: family 'uniform': clients is -3; give a whole number from 1 to 10,000,000"),
]

#: Command lines: words, message.
COMMANDS = [
    ("solve missing.json",
     "missing.json: cannot be read: no such file or directory"),
    ("solve folder.json",
     "folder.json: is a directory; give a file"),
    ("solve pipe.json",
     "pipe.json: is not a regular file; save the data to a file first"),
    ("solve p.json --backend gurobi",
     "there is no backend 'gurobi'; choose one of auto, exchange, ortools-mcf, lagrangian, "
     "ortools-cpsat, ortools-mip, ortools-scip, scipy-milp, scipy-lsa, networkx, greedy"),
    ("solve p.json --time-limit=-1",
     "--time-limit is -1; give seconds >= 0"),
    ("solve p.json --time-limit nan",
     "--time-limit is nan; give seconds >= 0"),
    ("solve p.json --threads 0",
     "--threads is 0; give a whole number >= 1"),
    ("solve p.json --sense min",
     "p.json: says itself that its sense is 'max'; drop sense 'min'"),
    ("solve p.json --out plan.txt",
     "plan.txt: suffix '.txt' is not that of a solution; give .json, or .csv for the pairs "
     "alone"),
    ("solve p.json --out nowhere/plan.json",
     "nowhere/plan.json: cannot be written: there is no such folder"),
    ("solve p.json#2",
     "p.json: there is no problem 2; the file holds 1"),
    ("solve p.json#0",
     "p.json: there is no problem 0; the file holds 1"),
    ("solve p.json#1 --index 1",
     "p.json#1 and --index 1 both choose a problem; give one"),
    ("check gap.txt plan.json --sense max",
     "gap.txt: holds 2 problems; choose one with --index 1 to 2, or gap.txt#1"),
    ("solve gap.txt",
     "gap.txt: a generalized assignment file does not say whether its values are profits or "
     "costs; give sense max or min (--sense max)"),
    ("solve gap.txt#3 --sense max",
     "gap.txt: there is no problem 3; the file holds 2"),
    ("solve negative.txt --sense min",
     "negative.txt: problem 1: resources['capacity'].size[0, 1] is -1.0; give a finite size >= "
     "0"),
    ("solve p.json --set max_experts",
     "--set 'max_experts' is not NAME=VALUE with one of max_experts, min_experts, load_min, "
     "load_max, load_target, load_penalty, switch_cost"),
    ("solve p.json --set max_expert=2",
     "--set 'max_expert=2' is not NAME=VALUE with one of max_experts, min_experts, load_min, "
     "load_max, load_target, load_penalty, switch_cost"),
    ("solve p.json --set max_experts=many",
     "--set 'max_experts=many' does not give a number"),
    ("solve p.json --set max_experts=1.5",
     "max_experts is 1.5; give a whole number >= 0"),
    ("check p.json missing.json",
     "missing.json: cannot be read: no such file or directory"),
    ("check p.json p.json",
     "p.json: key \"format\" is 'alignsolve-problem'; give \"alignsolve-solution\""),
    ("check p.json bad.json",
     'bad.json: key "format" is missing; give "alignsolve-solution"'),
    ("check p.json plan.csv",
     "plan.csv:2: '0,7' is not a client and an expert of the problem"),
    ("check p.json three.csv",
     "three.csv:1: is neither a solution in JSON nor a table of pairs: column 'expert' is missing"),
    ("convert p.json p.xls",
     "p.xls: suffix '.xls' is not written; give one of .json, .npz, .csv, .tsv, .parquet, "
     ".min, .dmx, .dimacs, .mps, .lp"),
    ("convert p.json nowhere/p.npz",
     "nowhere/p.npz: cannot be written: no such file or directory"),
    ("convert p.json folder.json",
     "folder.json: is a directory; give a file"),
    ("info p.json --index 0",
     "p.json: there is no problem 0; the file holds 1"),
    ("generate unifrm --out x.npz",
     "there is no family 'unifrm'; did you mean 'uniform'?"),
    ("generate uniform clients=5",
     "generate needs --out FILE, such as --out problem.npz"),
    ("generate uniform clients --out x.npz",
     "parameter 'clients' is not NAME=VALUE, such as clients=100"),
    ("generate uniform client=5 --out x.npz",
     "family 'uniform' has no parameter 'client'; did you mean 'clients'?"),
    ("generate uniform clients=-5 --out x.npz",
     "family 'uniform': clients is -5; give a whole number from 1 to 10,000,000"),
    ("generate uniform clients=x --out x.npz",
     "family 'uniform': clients is 'x'; give a whole number from 1 to 10,000,000"),
    ("generate uniform --out x.xls",
     "x.xls: suffix '.xls' is not written; give one of .json, .npz, .csv, .tsv, .parquet, "
     ".min, .dmx, .dimacs, .mps, .lp"),
    ("bench nowhere",
     "nowhere: no such file or folder; give instances or folders"),
    ("bench p.json --jobs 0",
     "jobs is 0; give a whole number >= 1"),
    ("bench p.json --backends exchange,,greedy",
     "--backends 'exchange,,greedy' has an empty name; give names between commas"),
    ("bench p.json --backends gurobi",
     "there is no backend 'gurobi'; choose one of auto, exchange, ortools-mcf, lagrangian, "
     "ortools-cpsat, ortools-mip, ortools-scip, scipy-milp, scipy-lsa, networkx, greedy"),
    ("bench p.json --time-limit 0",
     "time_limit is 0.0; give a finite number of seconds > 0"),
]


#: Wrong usage: words, and a word that the message names; its wording is that of click.
USAGE = [
    ("solve p.json --backend", "--backend"),
    ("solve p.json --time-limit soon", "soon"),
    ("solve p.json --seed x", "--seed"),
    ("solve p.json --sense up", "'up'"),
    ("solve p.json extra", "extra"),
    ("solve --fast p.json", "--fast"),
    ("slove p.json", "slove"),
    ("check p.json", "SOLUTION"),
    ("convert p.json", "OUT"),
    ("generate uniform --seed=-1 --out x.npz", "-1"),
]


def evaluated(expression):
    """Return the message that an expression raises."""
    with pytest.raises(al.AlignSolveError) as caught:
        eval(expression, dict(NAMES))
    return str(caught.value)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io.write_instance(SMALL, "p.json")
    os.mkdir("folder.json")
    os.mkfifo("pipe.json")
    Path("gap.txt").write_text("2\n1 1\n1\n1\n1\n1 1\n1\n1\n1\n")
    Path("negative.txt").write_text("1 2\n1 2\n1 -1\n5\n")
    Path("bad.json").write_text("{}")
    Path("plan.csv").write_text("client,expert\n0,7\n")
    Path("three.csv").write_text("client;holder;fitness\n")


@pytest.mark.parametrize(("expression", "message"), CONSTRUCTOR + FUNCTIONS)
def test_expressions(expression, message, folder):
    for library in ("pd", "torch"):
        if NAMES[library] is None and f"{library}." in expression:
            pytest.skip(f"needs {library}")
    assert evaluated(expression) == message


@pytest.mark.parametrize(("old", "new", "message"), JSON)
def test_json(old, new, message, folder):
    assert old in PROBLEM
    Path("p.json").write_text(PROBLEM.replace(old, new, 1))
    assert evaluated("io.read_instances('p.json')") == message


@pytest.mark.parametrize(("name", "content", "message"), FILES)
def test_files(name, content, message, folder):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert evaluated(f"io.read_instances({name!r})") == message


@pytest.mark.parametrize(("words", "message"), COMMANDS)
def test_command_lines(words, message, folder, capsys):
    before = sorted(os.listdir())
    assert main(shlex.split(words)) == 2
    captured = capsys.readouterr()
    assert (captured.err, captured.out) == (f"error: {message}\n", "")
    assert sorted(os.listdir()) == before, "a failed command left a file"


@pytest.mark.parametrize(("words", "named"), USAGE)
def test_wrong_usage(words, named, folder, capsys):
    assert main(shlex.split(words)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert named in captured.err
    assert captured.out == ""


def test_deep_nesting_and_endless_numbers(folder):
    for content, message in (("[" * 200_000, "nested too deeply for a problem or solution"),
                             ("9" * 5000, "holds a whole number of more than 4,300 digits")):
        Path("p.json").write_text(content)
        assert evaluated("io.read_instances('p.json')") == f"p.json: {message}"


def test_pickled_objects_in_npz(folder):
    with zipfile.ZipFile("p.npz", "w") as archive:
        stream = streams.BytesIO()
        np.lib.format.write_array(stream, np.array([{}]), allow_pickle=True)
        archive.writestr("header.npy", stream.getvalue())
    assert evaluated("io.read_instances('p.npz')") == (
        "p.npz: array 'header' holds pickled objects, which are never read"
    )


def test_without_permission(folder, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)
    monkeypatch.setattr("io.open", refused)
    assert evaluated("io.read_instances('p.json')") == "p.json: cannot be read: permission denied"
    message = evaluated("io.write_instance(problem, 'q.json')")
    assert message == "q.json: cannot be written: permission denied"


def test_enough_cases():
    assert len(CONSTRUCTOR + FUNCTIONS + JSON + FILES + COMMANDS) >= 60


#: What is refused, kind by kind, before the messages one by one.
KINDS = """\
## Kinds of input that are refused

No input is repaired in silence: what could mean something else than it says is refused, with
the place and what would be right.

* **Values that float64 cannot hold.** Whole numbers beyond 2**53 are exact where the differences
  within a client's row fit into float64; else the row is refused. That goes for arrays, CSV,
  JSON, Parquet and Arrow.
* **Masks and labels.** A masked entry of fitness or cost forbids the pair. A mask on anything
  else (sizes, bounds, `held`) is refused: give the value that is meant. A pandas Series is
  aligned by label where the problem has ids, and refused where its labels differ from them.
* **Ids that only look equal.** Refused are ids that are missing (None, NaN), empty, have white
  space at an end or hold an invisible character (zero width, soft hyphen, no-break space, control
  and format characters; a tab or a line's end inside an id is kept), and two ids that differ only
  by Unicode normalisation (NFKC) or in white space. Errors show both in ASCII. The same in
  Python, JSON, npz, CSV, TSV, Parquet, tables of clients and experts, and an `Aligner`'s clients
  and reports.
* **Tables beside a table.** A table of clients or experts in any format of tables belongs to the
  table of pairs. Where several may be meant (`a.clients.csv` and `a.clients.tsv` beside `a.csv`
  alone) none is guessed.
* **Arrays that change after construction.** A matrix overwritten with NaN proves nothing: the
  proof notices it.
* **Types.** Taken is what converts exactly: tensors (detached, on the CPU), bfloat16, nullable
  types without nulls, Decimal and object integers where exact, `.npy` of any numbers. Sparse
  matrices, complex numbers, and magnitudes beyond a named backend are refused with the call that
  would be right.
* **Bytes from clients.** Whatever a Flower node sends is taken or refused with a reason, within
  the memory that the model needs; one decision holds for the aligner and for the average. An
  `Aligner` that refuses every report of a round, or is given a plan that is not the open one,
  warns.
""".rstrip().splitlines()


def document():
    """Return the document: every input above, and its message."""
    lines = [
        "# Messages of malformed input",
        "",
        "Every input below raises `ProblemError` (or a sibling under `AlignSolveError`) with the",
        "message beside it; on the command line it is one line on standard error, and the exit",
        "code is 2. Made by `python tests/alignsolve/model/test_bad_inputs.py` from the table",
        "that the tests check.",
        "",
        *KINDS,
        "",
    ]
    sections = [
        ("Constructing a problem", "Expression", CONSTRUCTOR),
        ("Other functions", "Expression", FUNCTIONS),
        ("JSON problems", "Changed in a well-formed file",
         [(f"{old} -> {new}", message) for old, new, message in JSON]),
        ("Files", "File and content",
         [(f"{name}: {shown(content)}", message) for name, content, message in FILES]),
        ("Command lines", "Words after `alignsolve`", COMMANDS),
    ]
    for title, heading, rows in sections:
        lines += [f"## {title}", "", f"| {heading} | Message |", "|---|---|"]
        lines += [f"| {code(given)} | {code(message)} |" for given, message in rows]
        lines.append("")
    return "\n".join(lines)


def shown(content):
    """Return the content of a file on one line."""
    text = ascii(content)
    return text.removeprefix("b")[1:-1] or "(nothing)"


def code(text):
    """Return text as code in a cell of a table."""
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{text}{ticks}".replace("|", "\\|")


def test_the_document_is_up_to_date():
    assert DOCUMENT.read_text() == document(), f"run python {Path(__file__).name} to write it anew"


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document())
