"""Fitness sources: what they read, what they refuse, and problems over them."""

import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.certificate.certificate import certify
from alignsolve.errors import ProblemError, UnsupportedProblemError
from alignsolve.model.digest import problem_digest
from alignsolve.model.sources.base import Negated
from tests.strategies import flow_problems

RNG = np.random.default_rng(3)
MATRIX = RNG.random((50, 7)).astype(np.float32)


class Blocks(al.FitnessSource):
    """A matrix in blocks of a few rows, which is all that the base class needs."""

    def __init__(self, matrix, rows=7):
        n = matrix.shape[0]
        super().__init__(matrix.shape, matrix.dtype, np.append(np.arange(0, n, rows), n))
        self.matrix = matrix
        self.blocks_read = 0

    def block(self, k):
        self.blocks_read += 1
        return self.matrix[self.edges[k] : self.edges[k + 1]].copy()


def write_parquet(path, matrix, rows=9):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    table = pa.table({f"expert {j}": matrix[:, j] for j in range(matrix.shape[1])})
    pyarrow.parquet.write_table(table, path, row_group_size=rows)


def a_source(kind, folder):
    """Return a source of a kind and the matrix it stands for."""
    if kind == "blocks":
        return Blocks(MATRIX), MATRIX
    if kind == "array":
        return al.ArraySource(MATRIX, block_rows=11), MATRIX
    if kind == "mapped":
        np.save(folder / "fitness.npy", MATRIX)
        return al.MappedSource(folder / "fitness.npy", block_rows=11), MATRIX
    if kind == "function":
        return al.FunctionSource(rows_of_matrix, MATRIX.shape, block_rows=11), MATRIX
    if kind == "factors":
        features, experts = RNG.random((50, 4)), RNG.random((7, 4))
        product = np.zeros((50, 7))
        for k in range(4):
            product += features[:, k, None] * experts[:, k]
        return al.FactorSource(features, experts, block_rows=11), product
    if kind == "sparse":
        kept = RNG.random(MATRIX.shape) < 0.4
        stored = sp.csr_array((MATRIX[kept], np.nonzero(kept)), shape=MATRIX.shape)
        matrix = np.where(kept, MATRIX, np.float32(-np.inf))
        return al.SparseSource(stored, block_rows=11), matrix
    if kind == "parquet":
        write_parquet(folder / "fitness.parquet", MATRIX)
        return al.TableSource(folder / "fitness.parquet"), MATRIX
    if kind == "folder":
        (folder / "parts").mkdir()
        write_parquet(folder / "parts" / "b.parquet", MATRIX[20:])
        write_parquet(folder / "parts" / "a.parquet", MATRIX[:20])
        return al.TableSource(folder / "parts"), MATRIX
    if kind == "arrow":
        pa = pytest.importorskip("pyarrow")
        table = pa.table({str(j): MATRIX[:, j] for j in range(7)})
        with pa.OSFile(str(folder / "fitness.arrow"), "wb") as sink, \
                pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=13)
        return al.TableSource(folder / "fitness.arrow"), MATRIX
    return Negated(Blocks(MATRIX)), -MATRIX


def rows_of_matrix(start, stop):
    return MATRIX[start:stop]


KINDS = ("blocks", "array", "mapped", "function", "factors", "sparse", "parquet", "folder",
         "arrow", "negated")


@pytest.mark.parametrize("kind", KINDS)
class TestReading:
    def test_blocks_rows_pairs_and_parts_agree(self, kind, tmp_path):
        source, matrix = a_source(kind, tmp_path)
        assert source.shape == matrix.shape
        assert source.dtype == matrix.dtype
        blocks = [source.block(k) for k in range(source.n_blocks)]
        np.testing.assert_array_equal(np.concatenate(blocks), matrix)
        some = np.array([0, 3, 3, 17, 48])
        np.testing.assert_array_equal(source.rows(some), matrix[some])
        cols = np.array([6, 0, 1, 2, 3])
        np.testing.assert_array_equal(source.pairs(some, cols), matrix[some, cols])
        last = source.n_blocks
        part = source.part(last // 2, last)
        start = source.edges[last // 2]
        assert last > 1
        np.testing.assert_array_equal(part.edges, source.edges[last // 2 :] - start)
        np.testing.assert_array_equal(part.rows(np.arange(part.shape[0])), matrix[start:])
        np.testing.assert_array_equal(part.block(0), blocks[last // 2])
        np.testing.assert_array_equal(part.pairs(np.array([1]), np.array([2])),
                                      matrix[start + 1, [2]])

    def test_reads_like_an_array_by_rows(self, kind, tmp_path):
        source, matrix = a_source(kind, tmp_path)
        np.testing.assert_array_equal(source[5:23], matrix[5:23])
        np.testing.assert_array_equal(source[4], matrix[4])
        np.testing.assert_array_equal(source[matrix[:, 0] > 0.5], matrix[matrix[:, 0] > 0.5])
        np.testing.assert_array_equal(source[np.array([9, 2]), np.array([1, 1])],
                                      matrix[[9, 2], [1, 1]])
        assert len(source) == 50
        assert source.size == 350

    def test_survives_a_pickle(self, kind, tmp_path):
        source, matrix = a_source(kind, tmp_path)
        again = pickle.loads(pickle.dumps(source.part(0, source.n_blocks)))
        np.testing.assert_array_equal(again[0:50], matrix)
        np.testing.assert_array_equal(again.edges, source.edges)
        np.testing.assert_array_equal(again.block(1), source.block(1))

    def test_gives_the_problem_of_the_matrix(self, kind, tmp_path):
        source, matrix = a_source(kind, tmp_path)
        ours = al.AlignmentProblem(source, 1, load_max=10)
        theirs = al.AlignmentProblem(matrix, 1, load_max=10)
        assert ours.features == theirs.features
        assert ours.largest == theirs.largest
        assert problem_digest(ours) == problem_digest(theirs)
        assert ours.streamed == (kind not in ("array", "mapped"))
        found, known = al.solve(ours), al.solve(theirs)
        assert found.status is known.status is al.Status.OPTIMAL
        assert found.objective_value == pytest.approx(known.objective_value, rel=1e-9)


def another_form(kind, matrix, folder):
    """Return a matrix as a source of a kind."""
    if kind == "array":
        return al.ArraySource(matrix)
    if kind == "mapped":
        np.save(folder / "m.npy", matrix)
        return al.MappedSource(folder / "m.npy")
    if kind == "function":
        return al.FunctionSource(lambda a, b: matrix[a:b], matrix.shape, matrix.dtype, 3)
    if kind == "factors" and np.isfinite(matrix).all():
        return al.FactorSource(matrix, np.eye(matrix.shape[1]))
    if kind == "sparse":
        kept = np.isfinite(matrix)
        return al.SparseSource(sp.csr_array((matrix[kept], np.nonzero(kept)), shape=matrix.shape))
    if kind == "parquet" and matrix.size:
        write_parquet(folder / "m.parquet", matrix, 3)
        return al.TableSource(folder / "m.parquet")
    return Blocks(matrix, 3)


class TestProblems:
    @settings(max_examples=60)
    @given(problem=flow_problems(), rows=st.integers(1, 5))
    def test_certificates_are_those_of_the_matrix(self, problem, rows):
        arguments = problem.arguments()
        name = "fitness" if problem.sense == "max" else "cost"
        matrix = arguments[name].astype(np.float64)
        streamed = problem.replace(**{name: Blocks(matrix, rows)})
        dense = problem.replace(**{name: matrix})
        result = al.solve(dense)
        if not result.has_answer:
            assert al.solve(streamed).status is al.Status.INFEASIBLE
            return
        for prices in (result.prices, None):
            ours = certify(streamed, result.row_ind, result.col_ind, prices)
            theirs = certify(dense, result.row_ind, result.col_ind, prices)
            assert ours.optimal == theirs.optimal
            assert ours.objective_value == theirs.objective_value
            assert ours.gap_abs == pytest.approx(theirs.gap_abs, abs=1e-12)
        assert al.solve(streamed, "ortools-mcf").status is al.Status.OPTIMAL

    def test_replace_and_arguments_keep_the_source(self):
        source = Blocks(MATRIX)
        problem = al.AlignmentProblem.from_cost(source, 1, load_max=10)
        assert problem.arguments()["cost"] is source
        assert problem.replace(load_max=8).sense == "min"
        assert problem.replace(load_max=8).source.cost is source

    def test_a_source_is_looked_through_once(self):
        source = Blocks(MATRIX)
        problem = al.AlignmentProblem(source, 1, load_max=10)
        assert source.blocks_read == source.n_blocks
        assert problem.replace(load_max=9).largest == problem.largest
        assert source.blocks_read == source.n_blocks
        assert not source.facts[0]
        assert pickle.loads(pickle.dumps(source.part(0, 2))).facts is None

    def test_problems_over_sources_are_not_written(self, tmp_path):
        problem = al.AlignmentProblem(Blocks(MATRIX), 1)
        for name in ("p.json", "p.npz", "p.csv", "p.mps"):
            with pytest.raises(ProblemError, match=r"a problem over a source .* is not written"):
                al.write_instance(problem, tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_mapped_files_are_read_in_place(self, tmp_path):
        np.save(tmp_path / "fitness.npy", MATRIX)
        problem = al.AlignmentProblem(al.MappedSource(tmp_path / "fitness.npy"), 1)
        assert isinstance(problem.fitness, np.ndarray)
        assert not problem.streamed
        assert isinstance(problem.source, al.MappedSource)


    @settings(max_examples=25, deadline=None)
    @given(problem=flow_problems(), data=st.data())
    def test_every_kind_gives_the_answer_and_proof_of_the_matrix(
        self, tmp_path_factory, problem, data
    ):
        arguments = problem.arguments()
        name = "fitness" if problem.sense == "max" else "cost"
        matrix = np.ascontiguousarray(arguments[name], dtype=np.float64)
        kind = data.draw(st.sampled_from(["array", "mapped", "function", "factors", "sparse",
                                          "parquet"]))
        if kind == "sparse" and problem.sense == "min":
            kind = "function"  # absent pairs are forbidden by -inf, which no cost is
        source = another_form(kind, matrix, tmp_path_factory.mktemp("kind"))
        streamed, dense = problem.replace(**{name: source}), problem.replace(**{name: matrix})
        ours, theirs = al.solve(streamed), al.solve(dense)
        assert ours.status is theirs.status
        if not theirs.has_answer:
            return
        assert ours.objective_value == pytest.approx(theirs.objective_value, rel=1e-9, abs=1e-9)
        for prices in (theirs.prices, None):
            one = certify(streamed, theirs.row_ind, theirs.col_ind, prices)
            two = certify(dense, theirs.row_ind, theirs.col_ind, prices)
            assert (one.feasible, one.optimal) == (two.feasible, two.optimal)
            assert one.objective_value == two.objective_value
            assert one.gap_abs == pytest.approx(two.gap_abs, abs=1e-12)

    @settings(max_examples=40, deadline=None)
    @given(problem=flow_problems(), data=st.data())
    def test_other_answers_are_judged_as_over_the_matrix(self, problem, data):
        """Proofs in one pass must not let through what is wrong: any pairs, any prices."""
        arguments = problem.arguments()
        name = "fitness" if problem.sense == "max" else "cost"
        matrix = arguments[name].astype(np.float64)
        n, m = matrix.shape
        pairs = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, m - 1)),
                                   max_size=8))
        rows, cols = ([pair[side] for pair in pairs] for side in (0, 1))
        rows, cols = np.array(rows, np.int64), np.array(cols, np.int64)
        prices = np.array(data.draw(st.lists(st.integers(-3, 3), min_size=m, max_size=m)), float)
        one = certify(problem.replace(**{name: Blocks(matrix, 2)}), rows, cols, prices)
        two = certify(problem.replace(**{name: matrix}), rows, cols, prices)
        assert (one.feasible, one.optimal) == (two.feasible, two.optimal)
        assert one.objective_value == two.objective_value
        assert [v.message for v in one.violations] == [v.message for v in two.violations]


@pytest.mark.parametrize("suffix", ["npy", "arrow"])
def test_matrices_in_files_are_instances(tmp_path, suffix):
    path = tmp_path / f"fitness.{suffix}"
    if suffix == "npy":
        np.save(path, MATRIX)
    else:
        feather = pytest.importorskip("pyarrow.feather")
        pa = pytest.importorskip("pyarrow")
        feather.write_feather(pa.table({str(j): MATRIX[:, j] for j in range(7)}), path)
    problem = al.read_instance(path)
    assert problem.source is not None
    assert problem.max_experts.tolist() == [1] * 50
    assert problem_digest(problem) == problem_digest(al.AlignmentProblem(MATRIX, 1))
    cost = al.read_instance(path, "min")
    assert problem_digest(cost) == problem_digest(al.AlignmentProblem.from_cost(MATRIX, 1))


@pytest.mark.parametrize("dtype", ["i1", "u2", "i8", "?", "f2", ">f4", ">f8", ">i4", "f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_files_of_any_numbers_in_any_order(dtype, order, tmp_path):
    matrix = np.arange(15).reshape(5, 3).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(matrix, order=order))
    problem = al.read_instance(tmp_path / "a.npy")
    np.testing.assert_array_equal(problem.fitness, matrix.astype(np.float64))
    assert problem.fitness.dtype == (np.float32 if dtype in ("f2", "f4", ">f4") else np.float64)
    cost = al.read_instance(tmp_path / "a.npy", "min").fitness
    np.testing.assert_array_equal(cost[np.arange(5)], 0.0 - matrix.astype(np.float64))


def test_pairs_of_a_sparse_matrix_need_little_more_memory_than_their_rows():
    matrix = np.random.default_rng(1).random((128, 256))
    source = al.SparseSource(sp.csr_array(matrix))
    row_ind, col_ind = np.divmod(np.arange(matrix.size), matrix.shape[1])
    order = np.random.default_rng(2).permutation(matrix.size)
    for at in (np.arange(matrix.size), order):
        tracemalloc.start()
        try:
            found = source.pairs(row_ind[at], col_ind[at])
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        np.testing.assert_array_equal(found, matrix.ravel()[at])
        assert most < 100 * matrix.size  # a copy of a row for every pair takes 3072 a pair


def test_older_pickles_of_sources_are_read():
    stored = sp.csr_array(np.array([[0.0, 1.0, 0.0], [8.0, 0.0, 2.0]]))
    source = al.SparseSource(stored)
    state = source.__getstate__()
    csr = state.pop("matrix")
    state |= {"indptr": csr.indptr.astype(np.int64), "indices": csr.indices, "data": csr.data}
    older = al.SparseSource.__new__(al.SparseSource)
    older.__setstate__(state)
    expected = [[-np.inf, 1, -np.inf], [8, -np.inf, 2]]
    assert older.in_memory().tolist() == expected
    assert older.pairs(np.array([1, 0]), np.array([2, 0])).tolist() == [2, -np.inf]
    assert older.part(0, 1).in_memory().tolist() == expected

    negated = Negated(Blocks(MATRIX)).__getstate__()
    for name in ("whole", "first", "start", "experts"):
        del negated[name]
    older = Negated.__new__(Negated)
    older.__setstate__(negated)
    np.testing.assert_array_equal(older.in_memory(), -MATRIX)
    np.testing.assert_array_equal(older[[3, 9]], -MATRIX[[3, 9]])
    np.testing.assert_array_equal(older.of_experts(np.array([2])).in_memory(), -MATRIX[:, [2]])


def test_an_absent_pair_is_forbidden_as_a_cost_too():
    stored = sp.csr_array(np.array([[0.0, 1.0], [8.0, 2.0]]))
    problem = al.AlignmentProblem.from_cost(
        al.SparseSource(stored), 1, min_experts=1, load_max=1, expert_ids=["x", "y"]
    )
    expected = [[-np.inf, -1], [-8, -2]]
    for same in (problem, pickle.loads(pickle.dumps(problem)), problem.replace(load_max=1),
                 al.AlignmentProblem(al.SparseSource(stored), 1).replace(
                     cost=al.SparseSource(stored))):  # fmt: skip
        assert same.fitness.in_memory().tolist() == expected
    assert problem.fitness.part(0, 1).in_memory().tolist() == expected
    result = al.solve(problem)
    assert result.status is al.Status.OPTIMAL
    assert (result.objective_value, result.col_ind.tolist()) == (9, [1, 0])
    stored.data[0] = -np.inf
    with pytest.raises(ProblemError, match="is inf"):
        al.AlignmentProblem.from_cost(al.SparseSource(stored), 1)
    back = problem.replace(fitness=al.SparseSource(sp.csr_array(np.array([[3.0, 0], [0, 4]]))))
    assert back.fitness.in_memory().tolist() == [[3, -np.inf], [-np.inf, 4]]


class TestRefusals:
    def test_the_whole_matrix_is_not_given(self):
        with pytest.raises(UnsupportedProblemError, match="whole matrix of 50 x 7"):
            np.asarray(Blocks(MATRIX))
        problem = al.AlignmentProblem(Blocks(MATRIX), 1)
        for backend in ("greedy", "scipy-milp", "networkx", "scipy-lsa"):
            with pytest.raises(UnsupportedProblemError):
                al.solve(problem, backend)

    def test_the_hard_class_needs_an_array(self):
        problem = al.AlignmentProblem(
            Blocks(MATRIX), 1, loads={"samples": al.Load(np.arange(50), max=100)}
        )
        with pytest.raises(UnsupportedProblemError, match="named loads; give an array"):
            al.solve(problem)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_wrong_entry_is_named(self, value):
        matrix = MATRIX.copy()
        matrix[33, 2] = value
        with pytest.raises(ProblemError, match=r"fitness\[33, 2\] is (nan|inf)"):
            al.AlignmentProblem(Blocks(matrix), 1)

    def test_values_whose_sum_overflows(self):
        matrix = np.zeros((50, 7))
        matrix[23, 4] = -1e305
        with pytest.raises(ProblemError, match=r"fitness\[23, 4\] is -1e\+305; sums would"):
            al.AlignmentProblem(Blocks(matrix), 1)

    def test_a_block_of_another_shape_or_type(self):
        for wrong in (lambda a, b: MATRIX[a : b - 1], lambda a, b: MATRIX[a:b].astype(float)):
            with pytest.raises(ProblemError, match="gave clients 0 to 49"):
                al.AlignmentProblem(al.FunctionSource(wrong, MATRIX.shape), 1)

    def test_what_makes_no_source(self, tmp_path):
        with pytest.raises(ProblemError, match="dtype int64"):
            al.FunctionSource(rows_of_matrix, (3, 3), np.int64)
        with pytest.raises(ProblemError, match="callable"):
            al.FunctionSource(MATRIX, (3, 3))
        for make in (lambda: al.FunctionSource(rows_of_matrix, (3, 3), block_rows=0),
                     lambda: al.ArraySource(MATRIX, block_rows=0)):
            with pytest.raises(ProblemError, match="block_rows is 0"):
                make()
        with pytest.raises(ProblemError, match="sparse"):
            al.SparseSource(MATRIX)
        with pytest.raises(ProblemError, match="twice"):
            al.SparseSource(sp.csr_array((np.ones(2), [1, 1], [0, 2]), shape=(1, 3)))
        with pytest.raises(ProblemError, match="embeddings"):
            al.FactorSource(np.ones((5, 2)), np.ones((3, 4)))
        with pytest.raises(ProblemError, match="dimensions"):
            al.ArraySource(np.ones(3))
        with pytest.raises(ProblemError, match="that can be mapped"):
            al.MappedSource(tmp_path / "missing.npy")
        np.save(tmp_path / "text.npy", np.array([["a"]]))
        with pytest.raises(ProblemError, match="no plain array of numbers"):
            al.MappedSource(tmp_path / "text.npy")
        np.save(tmp_path / "row.npy", np.ones(3))
        with pytest.raises(ProblemError, match=r"row\.npy: holds 1 dimensions; save a matrix"):
            al.MappedSource(tmp_path / "row.npy")

    def test_a_damaged_file_is_named_once(self, tmp_path):
        path = tmp_path / "fitness.npy"
        np.save(path, MATRIX)
        whole, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
        refused = []
        for _ in range(300):
            damaged = whole.copy()
            for at in rng.integers(0, 128, rng.integers(1, 4)):
                damaged[at] = rng.choice(np.frombuffer(b"\0({'\",9\xff ", np.uint8))
            path.write_bytes(damaged[: rng.choice([len(whole), 128, 60, 7])])
            try:
                al.MappedSource(path)
            except ProblemError as error:
                refused.append(str(error))
        assert len(refused) > 200
        assert all(text.startswith(f"{path}: ") and text.count(str(path)) == 1 for text in refused)

    def test_tables_that_are_none(self, tmp_path):
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet

        with pytest.raises(ProblemError, match="no such file"):
            al.TableSource(tmp_path / "missing.parquet")
        with pytest.raises(ProblemError, match="holds no file"):
            al.TableSource(tmp_path)
        (tmp_path / "bad.parquet").write_bytes(b"nonsense")
        with pytest.raises(ProblemError, match="not a Parquet"):
            al.TableSource(tmp_path / "bad.parquet")
        path = tmp_path / "text.parquet"
        pyarrow.parquet.write_table(pa.table({"id": ["a"], "e": [1.0]}), path)
        with pytest.raises(ProblemError, match="column 'id' has type string"):
            al.TableSource(path)
        assert al.TableSource(path, ["e"]).shape == (1, 1)
        with pytest.raises(ProblemError, match="no column 'f'"):
            al.TableSource(path, ["f"])
        pyarrow.parquet.write_table(pa.table({"e": [1.0, None]}), path)
        with pytest.raises(ProblemError, match="empty cells"):
            al.TableSource(path).block(0)
