"""The engine on Ray: the same answers, proved by the workers, whatever dies."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends.exchange.params import ExchangeParams
from alignsolve.distributed import shards as ray_shards
from alignsolve.distributed.params import RayParams
from alignsolve.errors import BackendError, ProblemError, UnsupportedProblemError
from tests.alignsolve.model.test_sources import write_parquet

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    """Start a cluster of two cores that all tests of this file share."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
             object_store_memory=2**28)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


RNG = np.random.default_rng(8)
FITNESS = RNG.random((9000, 8), dtype=np.float32)
#: Blocks small enough that there is more than one for each worker.
SOURCE = al.ArraySource(FITNESS, block_rows=512)
PLAIN = {"max_experts": 1, "min_experts": 1, "load_max": 1125}


#: Lets clients stay with their workers in these small problems, too.
LITTLE_ROOM = RayParams(exchange=ExchangeParams(room=9000))


def same(problem, **engine):
    """Solve here and on Ray; return both results, which must agree."""
    here = al.solve(problem, "exchange")
    there = al.solve(problem, engine=al.RayEngine(params=LITTLE_ROOM, **engine))
    assert there.status is here.status
    assert there.objective_value == pytest.approx(here.objective_value, rel=1e-12)
    return here, there


@pytest.mark.parametrize("workers", [1, 2])
def test_same_assignment_and_proof(cluster, workers):
    problem = al.AlignmentProblem(SOURCE, **PLAIN)
    here, there = same(problem, workers=workers)
    assert there.status is al.Status.OPTIMAL
    assert np.array_equal(here.col_ind, there.col_ind)
    assert np.array_equal(here.loads, there.loads)
    assert there.stats["workers"] == workers
    assert there.stats["restarts"] == 0
    # The rows were sent once, as they are in memory; some of them came back, and the pairs.
    assert there.stats["bytes_setup"] > FITNESS.nbytes
    pairs = there.row_ind.nbytes + there.col_ind.nbytes
    assert there.stats["bytes_received"] - pairs < FITNESS.nbytes
    again = al.certify(problem, there.row_ind, there.col_ind, there.prices)
    assert again.optimal
    assert again.gap_abs == pytest.approx(there.gap_abs, abs=1e-12)


@pytest.mark.parametrize(
    "bounds",
    [
        {"max_experts": 2, "load_max": 2000, "load_min": 100},
        {"max_experts": 1, "load_penalty": 1e-3},
        {"max_experts": 2, "load_max": 2000, "switch_cost": 0.2,
         "held": (np.arange(9000), np.arange(9000) % 8)},
        {"max_experts": RNG.integers(0, 3, 9000), "load_max": 1400,
         "switch_cost": RNG.random((9000, 8)) * 0.1},
        {"max_experts": 2, "load_max": 2000, "expert_group": np.arange(8) % 2, "group_max": 1},
        {"max_experts": 2, "load_max": 2400, "expert_group": np.arange(8) % 2, "group_max": 2,
         "min_experts": 2},
    ],
    ids=["slots", "penalty", "switching", "costs", "layers", "shared"],
)
@pytest.mark.parametrize("kind", ["smooth", "tied", "cost"])
def test_every_feature(cluster, bounds, kind):
    if kind == "cost":
        problem = al.AlignmentProblem.from_cost(-FITNESS, **bounds)
    elif kind == "tied":
        tied = al.ArraySource(np.rint(4 * FITNESS), block_rows=512)
        problem = al.AlignmentProblem(tied, **bounds)
    else:
        problem = al.AlignmentProblem(SOURCE, **bounds)
    assert same(problem)[1].status is al.Status.OPTIMAL


def test_sources_are_opened_by_the_workers(cluster, tmp_path):
    np.save(tmp_path / "fitness.npy", FITNESS)
    write_parquet(tmp_path / "fitness.parquet", FITNESS, 1000)
    sources = [
        al.MappedSource(tmp_path / "fitness.npy", block_rows=512),
        al.TableSource(tmp_path / "fitness.parquet"),
        al.FunctionSource(lambda a, b: FITNESS[a:b], FITNESS.shape, block_rows=1000),
    ]
    for source in sources[:2]:
        _, there = same(al.AlignmentProblem(source, **PLAIN))
        assert there.stats["bytes_setup"] < 10_000
    factors = al.FactorSource(FITNESS, RNG.random((8, 8)), block_rows=512)
    same(al.AlignmentProblem(factors, **PLAIN))


def test_workers_write_their_pairs(cluster, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    problem = al.AlignmentProblem(SOURCE, **PLAIN)
    here, there = same(problem, output=tmp_path / "pairs", workers=2)
    assert there.has_answer
    assert there.row_ind.size == 0
    assert np.array_equal(there.loads, here.loads)
    files = sorted((tmp_path / "pairs").iterdir())
    assert [file.name for file in files] == ["_parts.sha256", "part-00000.parquet",
                                             "part-00001.parquet"]
    listing, *files = files
    assert listing.read_text() == "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    tables = [parquet.read_table(file) for file in files]
    clients = np.concatenate([table["client"].to_numpy() for table in tables])
    experts = np.concatenate([table["expert"].to_numpy() for table in tables])
    assert np.array_equal(clients, here.row_ind)
    assert np.array_equal(experts, here.col_ind)
    assert f"{here.row_ind.size} pairs" in there.summary()
    with pytest.raises(ProblemError, match=r"holds part-00000\.parquet of an earlier answer"):
        al.solve(problem, engine=al.RayEngine(output=tmp_path / "pairs"))


ELSEWHERE = """
import sys, numpy as np, alignsolve as al
problem = al.AlignmentProblem(np.random.default_rng(8).random((9000, 8)), 1, load_max=1125)
try:
    al.solve(problem, engine=al.RayEngine(address="127.0.0.1:1"))
except al.BackendNotFoundError as error:
    print(error)
print(al.solve(problem, engine=al.RayEngine(address=sys.argv[1], workers=1)).status.value)
"""


def test_an_existing_cluster_is_joined_by_its_address(cluster):
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, cluster], capture_output=True,
                          text=True, check=True, env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert "no Ray cluster at '127.0.0.1:1'" in done.stdout
    assert done.stdout.splitlines()[-1] == "optimal"


@pytest.mark.parametrize("moment", [2, 5, 9])
@pytest.mark.parametrize("asleep", [True, False], ids=["idle", "busy"])
def test_a_worker_that_dies_changes_nothing(cluster, monkeypatch, moment, asleep):
    problem = al.AlignmentProblem(SOURCE, **PLAIN)
    calls = []
    ask = ray_shards.RayShards._ask

    def kill_one(self, shard, method, packed):
        calls.append(method)
        if len(calls) == moment:
            process = ray.get(self.workers[0].process.remote())
            if asleep:
                os.kill(process, signal.SIGKILL)
            else:
                answer = ask(self, shard, method, packed)
                os.kill(process, signal.SIGKILL)
                return answer
        return ask(self, shard, method, packed)

    monkeypatch.setattr(ray_shards.RayShards, "_ask", kill_one)
    here, there = same(problem, workers=1)
    assert len(calls) > moment
    assert there.stats["restarts"] >= 1
    assert np.array_equal(here.col_ind, there.col_ind)
    assert there.status is al.Status.OPTIMAL


def test_a_worker_that_cannot_start_again_says_why(cluster, monkeypatch, tmp_path):
    np.save(tmp_path / "fitness.npy", FITNESS)
    problem = al.AlignmentProblem(al.MappedSource(tmp_path / "fitness.npy"), **PLAIN)
    ask = ray_shards.RayShards._ask

    def kill_one(self, shard, method, packed):
        if self.calls == 3:
            (tmp_path / "fitness.npy").unlink()
            os.kill(ray.get(self.workers[0].process.remote()), signal.SIGKILL)
        return ask(self, shard, method, packed)

    monkeypatch.setattr(ray_shards.RayShards, "_ask", kill_one)
    with pytest.raises(BackendError, match=r"a worker failed: .*fitness\.npy"):
        al.solve(problem, engine=al.RayEngine(workers=1, params=LITTLE_ROOM))


class Flaky:
    """Stands for Ray: answers take a while, and the first ones are lost with their worker."""

    exceptions = ray.exceptions

    def __init__(self, lost):
        self.lost = lost

    def get(self, answers):
        time.sleep(0.2)
        self.lost -= 1
        if self.lost >= 0:
            raise ray.exceptions.RayActorError
        return answers


@pytest.mark.parametrize(("patience", "lost", "comes"), [(0.1, 1, True), (0.25, 9, False)])
def test_patience_begins_when_a_worker_is_lost(monkeypatch, patience, lost, comes):
    shards = ray_shards.RayShards.__new__(ray_shards.RayShards)
    shards.ray, shards.patience = Flaky(lost), patience
    monkeypatch.setattr(shards, "_again", lambda *_: [b"", b"again"])
    if comes:
        assert shards._await(0, "respond", b"", [b"first"]) == b"again"
    else:
        with pytest.raises(BackendError, match="died and did not come back"):
            shards._await(0, "respond", b"", [b"first"])


def test_rows_are_sent_once_however_many_layers(cluster):
    problem = al.AlignmentProblem(
        al.ArraySource(FITNESS, block_rows=512), 4, expert_group=np.arange(8) % 4, group_min=1,
        group_max=1, load_max=5000)
    here, there = same(problem, workers=2)
    assert there.stats["components"] == 4
    assert FITNESS.nbytes < there.stats["bytes_setup"] < 1.2 * FITNESS.nbytes
    assert np.array_equal(here.col_ind, there.col_ind)


def test_infeasible(cluster):
    fitness = FITNESS.copy()
    fitness[:2000, 1:] = -np.inf
    problem = al.AlignmentProblem(fitness, **PLAIN)
    result = al.solve(problem, engine=al.RayEngine(params=LITTLE_ROOM))
    assert result.status is al.Status.INFEASIBLE
    assert result.conflict is not None


def test_nothing_to_do():
    assert al.solve(al.AlignmentProblem(np.empty((0, 3)), 1), engine="ray").has_answer


def test_what_it_does_not_take():
    plain = al.AlignmentProblem(FITNESS, 1)
    with pytest.raises(UnsupportedProblemError, match="greedy"):
        al.solve(plain, "greedy", engine="ray")
    with pytest.raises(UnsupportedProblemError, match="elastic"):
        al.solve(plain, engine="ray", elastic=True)
    with pytest.raises(ProblemError, match="engine is 'spark'"):
        al.solve(plain, engine="spark")
    with pytest.raises(ProblemError, match="workers"):
        al.RayEngine(workers=0)


def test_blocks_are_cut_into_similar_shards():
    edges = np.array([0, 10, 20, 30, 40, 45])
    assert ray_shards.cut_blocks(edges, 2).tolist() == [0, 3, 5]
    assert ray_shards.cut_blocks(edges, 9).tolist() == [0, 1, 2, 3, 4, 5]
