"""Readers of image files, hostile files included, and partitions."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloop.config import PartitionSettings
from fedloop.errors import ConfigError, DataError
from fedloop.tasks.data import load_dataset, pooled, split
from fedloop.tasks.partition import _class_shares, _like, _parts, _with_at_least, deal, turned
from fedloop.tasks.readers import Dataset, read_cifar, read_idx
from tests.fedloop.colour import colour_images

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist-t10k"


def idx(array):
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return b"\0\0\x08" + bytes([array.ndim]) + shape + array.astype(np.uint8).tobytes()


def write_idx_pair(folder, half="train", n=6):
    pixels, label = np.arange(n * 4).reshape(n, 2, 2), np.arange(n) % 3
    (folder / f"{half}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
    (folder / f"{half}-labels-idx1-ubyte").write_bytes(idx(label))
    return pixels, label


# -- readers ---------------------------------------------------------------------------


def test_digits_need_no_files():
    data = load_dataset("digits")
    assert data.image.shape == (1797, 1, 8, 8) and data.n_classes == 10
    assert data.image.dtype == np.float32 and 0 <= data.image.min() < data.image.max() <= 1


def test_idx_files_packed_or_not(tmp_path):
    pixels, label = write_idx_pair(tmp_path)
    data = load_dataset("mnist", tmp_path)
    assert np.array_equal(data.label, label) and data.label.dtype == np.int64
    np.testing.assert_allclose(data.image[:, 0] * 255, pixels, rtol=1e-6)
    assert set(data.sha256) == {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"}
    write_idx_pair(tmp_path, "t10k", 4)
    assert len(load_dataset("fashion-mnist", tmp_path).label) == 10


@pytest.mark.skipif(not MNIST.exists(), reason="../shared/data/mnist-t10k is not here")
def test_real_mnist():
    data = load_dataset("mnist", MNIST)
    assert data.image.shape == (10_000, 1, 28, 28)
    assert np.bincount(data.label).tolist()[:3] == [980, 1135, 1032]


@pytest.mark.parametrize("start", [b"\0\0\x09\1", b"\0\0\x08\0", b"\0\0\x08\5", b"\0\0"])
def test_what_does_not_start_like_idx_is_refused(tmp_path, start):
    (tmp_path / "x").write_bytes(start + bytes([0, 0, 0, 1, 7]))
    with pytest.raises(DataError, match="not an IDX file of unsigned bytes: it starts with"):
        read_idx(tmp_path / "x")


@given(st.binary(max_size=40), st.integers(0, 40))
def test_damaged_idx_is_refused(tmp_path_factory, junk, cut):
    path = tmp_path_factory.mktemp("idx") / "x"
    good = idx(np.zeros((2, 3)))
    for data in (junk, good[: min(cut, len(good) - 1)], good + b"\0", b"\x1f\x8b" + junk):
        path.write_bytes(data)
        with pytest.raises(DataError):
            read_idx(path)


def test_cifar_batches(tmp_path):
    data = np.arange(2 * 3072, dtype=np.int64).reshape(2, 3072).astype(np.uint8)
    for number in (1, 2):
        content = pickle.dumps({b"data": data, b"labels": [number, 0]}, protocol=2)
        (tmp_path / f"data_batch_{number}").write_bytes(content)
    found = load_dataset("cifar10", tmp_path)
    assert found.image.shape == (4, 3, 32, 32) and found.label.tolist() == [1, 0, 2, 0]
    np.testing.assert_allclose(found.image[0, 1, 0, :3] * 255, data[0, 1024:1027], rtol=1e-6)


class Evil:
    def __reduce__(self):
        return (print, ("this must not run",))


@pytest.mark.parametrize("content", [
    pickle.dumps({b"data": Evil(), b"labels": [1]}),
    pickle.dumps({b"data": np.zeros((1, 5), np.uint8), b"labels": [1]}),
    pickle.dumps([1, 2]), b"", b"\x80\x04junk",
    pickle.dumps({b"data": np.array([Evil()], dtype=object), b"labels": [1]}),
], ids=["code", "shape", "no mapping", "empty", "junk", "objects"])
def test_hostile_pickles_are_refused(tmp_path, content, capsys):
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a CIFAR batch"):
        read_cifar([path])
    assert "must not run" not in capsys.readouterr().out


def test_folders_of_images(tmp_path):
    import matplotlib.image

    for number, name in enumerate(("cats", "dogs")):
        (tmp_path / name).mkdir()
        picture = np.full((4, 6, 3), number * 255, np.uint8)
        matplotlib.image.imsave(tmp_path / name / "one.png", picture)
    found = load_dataset("folder", tmp_path)
    assert found.image.shape == (2, 3, 4, 6) and found.label.tolist() == [0, 1]
    assert found.image.max(axis=(1, 2, 3)).tolist() == [0, 1]
    matplotlib.image.imsave(tmp_path / "dogs" / "two.png", np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(DataError, match=r"two.png.*must be the same"):
        load_dataset("folder", tmp_path)
    (tmp_path / "dogs" / "two.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="not an image"):
        load_dataset("folder", tmp_path)


def test_npz(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, x=np.full((3, 2, 2), 51, np.uint8), y=np.array([0, 1, 1], np.uint8))
    for where in (path, tmp_path):
        found = load_dataset("npz", where)
        assert found.image.shape == (3, 1, 2, 2) and found.image[0, 0, 0, 0] == np.float32(0.2)
    for wrong in ({"x": np.zeros((3, 2, 2))}, {"x": np.zeros((3, 2, 2)), "y": np.zeros(3)},
                  {"x": np.zeros((3, 2, 2)), "y": np.array([0, -1, 2])},
                  {"x": np.full((1, 2, 2), np.nan), "y": np.array([0])},
                  {"x": np.array([Evil()], dtype=object), "y": np.array([0])}):
        np.savez(path, **wrong)
        with pytest.raises(DataError):
            load_dataset("npz", path)


@pytest.mark.parametrize(("last", "first"), [
    ((32, 32, 3), (3, 32, 32)), ((28, 28, 1), (1, 28, 28)), ((8, 8, 4), (4, 8, 8)),
    ((3, 3, 1), (1, 3, 3)), ((20, 30, 3), (3, 20, 30)), ((4, 4, 3), (3, 4, 4)),
    ((64, 64, 13), (13, 64, 64)), ((20, 30, 13), (13, 20, 30)), ((1, 1, 1), (1, 1, 1)),
])
def test_npz_channels_in_both_orders(tmp_path, last, first):
    pixels = np.random.default_rng(0).integers(0, 256, (2, *last)).astype(np.uint8)
    for at, image in enumerate((pixels, pixels.transpose(0, 3, 1, 2))):
        np.savez(tmp_path / f"{at}.npz", x=image, y=np.array([0, 1]))
        found = load_dataset("npz", tmp_path / f"{at}.npz").image
        assert found.shape == (2, *first) and found.flags.c_contiguous
        np.testing.assert_allclose(found[:, -1] * 255, pixels[..., -1], rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 8, 3), (3, 20, 4), (8, 8, 8), (1, 28, 1),
                                   (8, 3, 3), (5, 2, 7)])
def test_npz_of_ambiguous_channels_is_refused(tmp_path, shape):
    np.savez(tmp_path / "x.npz", x=np.zeros((2, *shape), np.uint8), y=np.array([0, 1]))
    with pytest.raises(DataError, match=r"channels second or last, and the sizes do not tell"):
        load_dataset("npz", tmp_path)


@pytest.mark.parametrize(("name", "where", "text"), [
    ("mnits", None, "no data set 'mnits'; choose digits"),
    ("mnist", None, "--data-dir"),
    ("mnist", "missing", "no such file"),
    ("mnist", ".", "holds no t10k"),
    ("cifar10", ".", "holds no data_batch"),
    ("folder", ".", "no folder per class"),
    ("npz", ".", "0 npz files"),
])
def test_what_is_missing_is_said(tmp_path, name, where, text):
    with pytest.raises(DataError, match=text):
        load_dataset(name, None if where is None else tmp_path / where)


def test_half_a_data_set_is_an_error(tmp_path):
    write_idx_pair(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="images or labels only"):
        load_dataset("mnist", tmp_path)


# -- dealing out -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def dealt(data, seed=0, **settings):
    train, test = split(len(data.label), 0.2, np.random.default_rng(seed))
    settings = {"clients": 12, "test_images": 30, **settings}
    return deal(data, train, test, PartitionSettings(**settings), seed), train, test


@pytest.mark.parametrize(
    "kind", ["iid", "dirichlet", "classes", "quantity", "rotation", "permuted-labels"]
)
def test_every_image_has_one_owner(digits, kind):
    part, train, _ = dealt(digits, kind=kind)
    assert part.train.first[-1] == len(train) == len(part.train.target)
    assert np.diff(part.train.first).min() >= 10
    assert part.label_counts.sum() == len(train)
    assert sorted(part.train.input.sum((1, 2, 3)).tolist()) == pytest.approx(
        sorted(digits.image[train].sum((1, 2, 3)).tolist()), rel=1e-5)
    assert part.manifest == dealt(digits, kind=kind)[0].manifest
    assert part.manifest["clients"] != dealt(digits, kind=kind, seed=1)[0].manifest["clients"]


def test_held_out_images_are_held_out_and_of_the_clients_labels(digits):
    part, _, test = dealt(digits, kind="classes", classes_per_client=2)
    for client in range(12):
        rows = slice(part.test.first[client], part.test.first[client + 1])
        owned = np.flatnonzero(part.label_counts[client])
        assert set(part.test.target[rows].tolist()) <= set(owned.tolist())
    known = {image.tobytes() for image in digits.image[test]}
    assert all(image.tobytes() in known for image in part.test.input.numpy())


def test_classes_per_client(digits):
    part, *_ = dealt(digits, kind="classes", classes_per_client=3, min_images=1)
    assert ((part.label_counts > 0).sum(axis=1) == 3).all()


def test_dirichlet_is_more_uneven_for_small_alpha(digits):
    spread = [
        np.std(part.label_counts / part.label_counts.sum(1, keepdims=True))
        for part in (dealt(digits, kind="dirichlet", alpha=alpha)[0] for alpha in (0.1, 100.0))
    ]
    assert spread[0] > 2 * spread[1]


def test_domains_turn_images_and_rename_labels(digits):
    turnedpart, *_ = dealt(digits, kind="rotation", domains=4)
    plain, *_ = dealt(digits, kind="iid")
    assert turnedpart.domain.tolist() == [0, 1, 2, 3] * 3
    for client in range(4):
        rows = slice(plain.train.first[client], plain.train.first[client + 1])
        expected = np.rot90(plain.train.input[rows].numpy(), client, axes=(2, 3))
        assert np.array_equal(turnedpart.train.input[rows].numpy(), expected)
    renamed, *_ = dealt(digits, kind="permuted-labels", domains=3)
    for client in range(3):
        rows = slice(plain.train.first[client], plain.train.first[client + 1])
        pairs = set(zip(plain.train.target[rows].tolist(), renamed.train.target[rows].tolist(),
                        strict=True))
        assert len(pairs) == len({old for old, _ in pairs}) == len({new for _, new in pairs})
        assert (client == 0) == all(old == new for old, new in pairs)


def test_a_right_angle_by_interpolation_is_a_quarter_turn(digits):
    inner = (slice(5), 0, slice(1, -1), slice(1, -1))  # pixels at the edge may fall outside
    np.testing.assert_allclose(turned(digits.image, 90)[inner],
                               turned(digits.image, 90 + 1e-9)[inner], atol=1e-5)


def test_too_few_images_are_an_error(digits):
    with pytest.raises(DataError, match="do not give 200 clients 10 each"):
        dealt(digits, clients=200)
    with pytest.raises(DataError, match="leaves none"):
        split(1_797, 0.0001, np.random.default_rng(0), 100)


def test_pooling_averages(digits):
    assert pooled(digits.image, 2)[7, 0, 1, 2] == pytest.approx(
        digits.image[7, 0, 2:4, 4:6].mean())
    with pytest.raises(DataError, match="8 x 8 pixels"):
        pooled(digits.image, 3)


def test_data_without_images_or_with_wild_labels_is_an_error():
    for image, label in ((np.zeros((0, 1, 2, 2)), np.zeros(0, int)),
                         (np.zeros((1, 1, 2, 2)), np.array([10**9])),
                         (np.zeros((1, 2, 2)), np.array([0]))):
        with pytest.raises(DataError):
            Dataset(image, label, "x", {})


# -- how images are dealt out, step by step ------------------------------------------------


class Unmixed:
    """Leaves everything in its order, and shares out as it is told."""

    def __init__(self, shares=None):
        self.shares = shares

    def permutation(self, x):
        return np.arange(x) if isinstance(x, int) else np.array(x)

    def dirichlet(self, alpha, size=None):
        self.asked = alpha.tolist(), size
        return np.array(self.shares)


LABEL = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 0])


def sizes(**settings):
    return PartitionSettings(**({"clients": 2, "min_images": 1} | settings))


@pytest.mark.parametrize(("spec", "shares", "parts", "asked"), [
    (sizes(kind="iid"), None, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]], None),
    (sizes(kind="quantity", alpha=0.5), [0.3, 0.7], [[0, 1, 2], [3, 4, 5, 6, 7, 8, 9]],
     ([0.5, 0.5], None)),
    # A third of label 0 and three quarters of label 1 for client 0.
    (sizes(kind="dirichlet", alpha=2.0), [[1 / 3, 2 / 3], [0.75, 0.25]],
     [[0, 2, 1, 3, 5], [4, 6, 8, 9, 7]], ([2.0, 2.0], 2)),
    (sizes(kind="classes", classes_per_client=1), None,
     [[0, 2, 4, 6, 8, 9], [1, 3, 5, 7]], None),
])
def test_parts_by_hand(spec, shares, parts, asked):
    rng = Unmixed(shares)
    assert [part.tolist() for part in _parts(LABEL, spec, rng)] == parts
    assert getattr(rng, "asked", None) == asked


def test_classes_are_handed_out_all_before_any_twice():
    shares = _class_shares(3, sizes(kind="classes", clients=4, classes_per_client=2), Unmixed())
    assert shares.T.tolist() == [[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 0]]
    with pytest.raises(ConfigError, match="classes_per_client is 4; the data has 3 classes"):
        _class_shares(3, sizes(kind="classes", classes_per_client=4), Unmixed())


def test_the_rich_give_to_the_poor_and_keep_enough():
    parts = [np.arange(6), np.arange(6, 7), np.arange(7, 11)]
    found = [part.tolist() for part in _with_at_least(3, parts, Unmixed())]
    assert found == [[2, 3, 4, 5], [6, 0, 1], [7, 8, 9, 10]]
    # The richest cannot give all that is wanted, and keeps the least itself.
    found = _with_at_least(3, [np.arange(0), np.arange(5), np.arange(5, 9)], Unmixed())
    assert [len(part) for part in found] == [3, 3, 3]
    with pytest.raises(DataError, match="11 training images of the clients' classes do not give 3"):
        _with_at_least(4, parts, Unmixed())


def test_held_out_images_have_the_clients_mix_of_labels():
    class Chooses:
        def choice(self, able, size, replace, p):
            self.asked = able.tolist(), size, replace, p
            return able[:size]

    rng, label = Chooses(), np.array([0, 0, 0, 1, 2, 2, 0, 1])
    # The pool has label 0 three times, label 1 once, label 2 never: three quarters and a quarter.
    pool = np.array([6, 0, 1, 3])
    drawn = _like(label, pool, np.array([0, 0, 0, 1]), 3, rng)
    able, size, replace, p = rng.asked
    assert (able, size, replace) == ([0, 1, 2, 3], 3, False)
    assert p.tolist() == pytest.approx([0.25] * 4)
    assert drawn.tolist() == [6, 0, 1]
    _like(label, pool, np.array([1, 1, 1, 0]), 9, rng)
    assert rng.asked[1] == 4
    assert rng.asked[3].tolist() == pytest.approx([1 / 12] * 3 + [0.75])
    with pytest.raises(DataError, match="no held-out image has a label"):
        _like(label, pool, np.array([2]), 3, rng)


@pytest.mark.parametrize(("kind", "named"), [("rotation", 1), ("permuted-labels", 1), ("iid", 0)])
def test_a_deal_says_what_it_was(kind, named):
    image = np.zeros((10, 1, 2, 2), np.float32)
    image[:, 0, 0, 0] = 1.0
    data = Dataset(image, LABEL, "mine", {"file": "hash"})
    spec = sizes(kind=kind, domains=2, test_images=2)
    part = deal(data, np.arange(8), np.arange(8, 10), spec, 3)
    assert part.domain.tolist() == [0, named]
    assert (part.n_classes, part.manifest["data"], part.manifest["seed"]) == (2, "mine", 3)
    first = part.train.first
    for client, seen in enumerate(part.manifest["clients"]):
        rows = slice(first[client], first[client + 1])
        assert seen["labels"] == part.label_counts[client].tolist()
        assert seen["labels"] == np.bincount(part.train.target[rows], minlength=2).tolist()
        assert (seen["domain"], seen["train"]) == (part.domain[client], first[client + 1]
                                                   - first[client])
    # Half a turn moves the corner that is lit.
    corner = part.train.input[first[1], 0]
    assert corner.flatten().tolist() == ([0, 0, 0, 1] if kind == "rotation" else [1, 0, 0, 0])


def test_colour_images_are_balanced_and_repeatable():
    found = colour_images(300)
    assert found.image.shape == (300, 3, 32, 32) and found.n_classes == 10
    assert 0 <= found.image.min() < found.image.max() <= 1
    assert np.bincount(found.label).min() > 15
    assert np.array_equal(found.image, colour_images(300).image)
    assert not np.array_equal(found.image, colour_images(300, seed=1).image)
