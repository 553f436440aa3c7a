"""Shards whose workers die at any call, over a stand-in for Ray in this process."""

import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends.exchange.params import ExchangeParams
from alignsolve.distributed import engine as engines
from alignsolve.distributed.params import RayParams
from alignsolve.distributed.proof import prove_shard
from alignsolve.distributed.shards import cut_blocks
from alignsolve.distributed.worker import Behind, Change, Worker, pack
from alignsolve.errors import BackendError


class TaskError(Exception):
    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class ActorError(Exception):
    pass


class StandIn:
    """Runs actors here; the worker asked by call number `fatal` dies before, after or unseen.

    Or its answer is lost, and it lives.
    """

    exceptions = SimpleNamespace(RayTaskError=TaskError, RayActorError=ActorError)

    def __init__(self, fatal=-1, when="before", for_good=False):
        self.fatal, self.when, self.for_good, self.asked = fatal, when, for_good, 0

    def cluster_resources(self):
        return {"CPU": 2}

    def remote(self, **options):
        return lambda worker: SimpleNamespace(remote=lambda: Actor(self, worker))

    def get(self, answers):
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def kill(self, actor):
        actor.worker = None


class Actor:
    def __init__(self, ray, kind):
        self.ray, self.kind, self.worker = ray, kind, kind()
        self.call, self.repeat = (
            SimpleNamespace(remote=lambda *args, name=name: self.run(name, args))
            for name in ("call", "repeat"))

    def run(self, name, args):
        at, self.ray.asked = self.ray.asked, self.ray.asked + 1
        if at == self.ray.fatal or (self.ray.for_good and at > self.ray.fatal):
            if self.ray.when in ("after", "lost"):
                getattr(self.worker, name)(*args)
            if self.ray.when != "lost":
                self.worker = self.kind()
            if self.ray.when != "unseen":
                return ActorError("died")
        try:
            return getattr(self.worker, name)(*args)
        except Exception as error:
            return TaskError(error)


RNG = np.random.default_rng(8)
FITNESS = RNG.integers(0, 40, (240, 4)).astype(np.float32)
PROBLEM = al.AlignmentProblem(
    al.ArraySource(FITNESS, block_rows=32), RNG.integers(1, 3, 240), min_experts=1, load_min=20,
    load_max=110, switch_cost=2.0, held=(np.arange(240), np.arange(240) % 4))
#: Components: layer 0, and layers 1 and 2, which share slots.
IN_LAYERS = al.AlignmentProblem(
    al.ArraySource(RNG.integers(0, 9, (44, 7)).astype(np.float64), block_rows=16), 4,
    expert_group=[1, 0, 2, 1, 0, 2, 1], group_min=[1, 0, 0], group_max=[1, 2, 2], load_min=9,
    load_max=24, switch_cost=0.5, held=(np.arange(44), np.arange(44) % 7))
PARAMS = RayParams(exchange=ExchangeParams(room=240, small=0, newton_clients=1, drawn=400))


def solved(ray, monkeypatch, problem=PROBLEM, **more):
    @contextmanager
    def connected(engine):
        yield ray

    monkeypatch.setattr(engines, "connected", connected)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return al.solve(problem, engine=al.RayEngine(**{"workers": 2, "params": PARAMS} | more))


@pytest.mark.parametrize(("problem", "every"), [(PROBLEM, 1), (IN_LAYERS, 17)])
def test_whenever_a_worker_dies_the_answer_and_its_proof_stay_the_same(monkeypatch, problem, every):
    here, plain = al.solve(problem, "exchange"), StandIn()
    first = solved(plain, monkeypatch, problem)
    assert first.status is al.Status.OPTIMAL
    assert (first.objective_value, first.stats["restarts"]) == (here.objective_value, 0)
    assert al.certify(problem, first.row_ind, first.col_ind, first.prices).optimal
    assert plain.asked > 10
    for fatal in range(0, plain.asked, every):
        for when in ("before", "after", "unseen", "lost"):
            again = solved(StandIn(fatal, when), monkeypatch, problem)
            assert again.status is al.Status.OPTIMAL
            assert again.col_ind.tolist() == first.col_ind.tolist()
            assert again.certificate.gap_abs == first.certificate.gap_abs == 0
            # The first call of a worker finds a new one as it should be.
            assert again.stats["restarts"] == (1 if when != "unseen" or fatal > 1 else 0)


def test_workers_write_the_pairs_of_all_components(monkeypatch, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    found = solved(StandIn(), monkeypatch, IN_LAYERS)
    written = solved(StandIn(), monkeypatch, IN_LAYERS, output=tmp_path / "pairs")
    assert written.status is al.Status.OPTIMAL and written.row_ind.size == 0
    tables = [parquet.read_table(file) for file in sorted((tmp_path / "pairs").glob("*.parquet"))]
    assert len(tables) == 2
    pairs = [np.concatenate([table[name] for table in tables]) for name in ("client", "expert")]
    assert (pairs[0] == found.row_ind).all() and (pairs[1] == found.col_ind).all()


@pytest.mark.parametrize(("change", "told"), [
    # What each worker of shared slots holds of a group, beyond the bound that it was given.
    (lambda shard: shard.groups.high.fill(0), r"of the experts \[0, 3, 6\]; 0 to 0 allowed"),
    (lambda shard: shard.slot_max.fill(0), "holds 3 experts; 0 to 0 allowed"),
])
def test_a_proof_names_the_bound_that_an_answer_breaks(monkeypatch, change, told):
    def changed(shard, *more):
        if shard.groups is not None:
            change(shard)
        return prove_shard(shard, *more)

    monkeypatch.setattr("alignsolve.distributed.worker.prove_shard", changed)
    with pytest.raises(BackendError, match=told):
        solved(StandIn(), monkeypatch, IN_LAYERS)


def test_layers_without_an_answer(monkeypatch):
    # Layer 0 is held by all 44 clients; nobody can hold four of a layer each.
    crowded = solved(StandIn(), monkeypatch, IN_LAYERS.replace(load_max=20))
    assert crowded.status is al.Status.INFEASIBLE
    assert {b.expert for b in crowded.conflict.bounds if b.kind == "load_max"} == {1, 4}
    crossed = solved(StandIn(), monkeypatch, IN_LAYERS.replace(min_experts=4, group_max=1))
    assert crossed.status is al.Status.INFEASIBLE
    assert {b.client for b in crossed.conflict.bounds if b.kind == "min_experts"} == {0}


def layers_of(fitness, **bounds):
    """Return a problem of six layers, each of two of twelve experts, over a source."""
    return al.AlignmentProblem(
        al.ArraySource(fitness, block_rows=64), 6, expert_group=np.arange(12) % 6, group_min=1,
        group_max=1, load_max=220, **bounds)


def test_an_infeasible_layer_ends_the_run(monkeypatch):
    fitness = RNG.random((400, 12))
    # Experts 2 and 8 are layer 2, 4 and 10 are layer 4.
    fitness[:300, [2, 4]] = -np.inf
    problem = layers_of(fitness)
    there = solved(StandIn(), monkeypatch, problem)
    here = al.solve(problem, "exchange")
    assert there.status is here.status is al.Status.INFEASIBLE
    assert there.stats["components"] == here.stats["components"] == 3
    assert str(there.conflict) == str(here.conflict)
    assert {bound.expert for bound in there.conflict.bounds if bound.kind == "load_max"} == {8}


def test_a_worker_that_dies_repeats_its_latest_component_alone(monkeypatch, tmp_path):
    repeated, repeat = [], Worker.repeat

    def counted(self, log, changes):
        repeated.append([change.method for change in log])
        repeat(self, log, changes)

    monkeypatch.setattr(Worker, "repeat", counted)
    problem, plain = layers_of(RNG.random((400, 12))), StandIn()
    first = solved(plain, monkeypatch, problem)
    again = solved(StandIn(plain.asked - 1), monkeypatch, problem)
    assert again.col_ind.tolist() == first.col_ind.tolist()
    assert [log.count("build") for log in repeated] == [1]
    assert repeated[0][:2] == ["open", "build"]
    assert len(repeated[0]) < plain.asked / 2 / 6 * 1.5
    # Pairs that a worker keeps to write them are found again.
    pytest.importorskip("pyarrow")
    repeated.clear()
    solved(StandIn(plain.asked - 1), monkeypatch, problem, output=tmp_path / "pairs")
    assert repeated[0].count("build") == 6


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_are_sent_once_however_many_layers(monkeypatch, workers):
    fitness = RNG.random((400, 12))
    result = solved(StandIn(), monkeypatch, layers_of(fitness), workers=workers)
    assert result.status is al.Status.OPTIMAL and result.stats["components"] == 6
    assert fitness.nbytes < result.stats["bytes_setup"] < 1.2 * fitness.nbytes


def test_a_worker_that_stays_dead_is_an_error(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", iter(np.arange(0, 10**6, 7.0)).__next__)
    with pytest.raises(BackendError, match="a worker died and did not come back: died"):
        solved(StandIn(5, for_good=True), monkeypatch)


def test_an_error_of_a_worker_is_told(monkeypatch):
    ray = StandIn()
    monkeypatch.setattr("alignsolve.distributed.worker.prove_shard", lambda *_: 1 / 0)
    with pytest.raises(BackendError, match="a worker failed: division by zero"):
        solved(ray, monkeypatch)


@pytest.mark.parametrize(("edges", "shards", "cuts"), [
    ([0, 4, 8, 12, 16], 2, [0, 2, 4]), ([0, 4, 8, 12, 16], 9, [0, 1, 2, 3, 4]),
    ([0, 10, 11, 12, 20], 2, [0, 1, 4]), ([0, 5], 3, [0, 1]), ([0, 4, 8, 9], 2, [0, 2, 3]),
])
def test_shards_are_cut_between_blocks(edges, shards, cuts):
    assert cut_blocks(np.array(edges), shards).tolist() == cuts


def test_a_worker_does_nothing_twice_and_answers_to_its_own_state_alone():
    done = []
    worker = Worker()
    worker.shard = SimpleNamespace(store=done.append, hold=lambda: done.append("hold"))
    log = [Change(0, "store", pack((1,))), Change(1, "store", pack((2,))),
           Change(2, "hold", pack(()))]
    worker.repeat(log[:2], 2)
    worker.repeat(log, 3)
    assert done == [1, 2, "hold"]
    for changes in (2, 4):
        with pytest.raises(Behind):
            worker.call(changes, "hold", pack(()))
    worker.call(3, "hold", pack(()))
    assert (done[-1], worker.changes) == ("hold", 4)
