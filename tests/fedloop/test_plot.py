"""Pictures of runs: what they show, how they are labelled, and that a load CV of 0 has a place."""

from __future__ import annotations

import numpy as np
import pytest

from alignsolve.plot.style import new_figure
from fedloop import plot
from fedloop.config import build_config


def record(number, holders, held, accuracy=0.5):
    load = np.array(holders)
    return {
        "round": number, "accuracy": accuracy, "accuracy_all": 0.25, "worst_decile": 0.1,
        "holders": holders, "held": held, "load_cv": float(load.std() / load.mean()),
        "down_bytes": 2_000_000, "up_bytes": 1_000_000, "seconds": 2.0,
    }  # fmt: skip


EVEN = [record(1, [2, 2], {"0": [0], "1": [1]}, 0.2), record(2, [4, 4], {"0": [0], "1": [1]}, 0.6)]
ODD = [record(1, [3, 1], {"0": [0], "1": [0]}, 0.4), record(2, [6, 2], {"0": [0], "1": [1]})]
RUNS = {"optimal": {0: EVEN, 1: ODD}, "greedy": {0: ODD, 1: ODD}}
DOMAIN = np.array([1, 0])


@pytest.fixture
def axes():
    return new_figure(4, 3, dpi=50).subplots()


def test_coincident_loads_are_one_band(axes):
    assert plot.loads(EVEN, axes) is axes
    (band,) = axes.collections
    assert band.get_paths()[0].get_extents().y1 == 4
    assert axes.lines[0].get_ydata().tolist() == [2, 4]
    assert axes.get_title() == "load, CV 0.0000"
    assert axes.get_ylim()[0] == 0


def test_holdings_are_sorted_by_domain(axes):
    plot.holdings(ODD, DOMAIN, 2, axes)
    image = axes.images[0]
    # Client 1, of domain 0, comes first: it held expert 0 once and expert 1 once.
    assert image.get_array().tolist() == [[0.5, 0.5], [1, 0]]
    assert image.get_clim() == (0, 1)
    assert image.colorbar.ax.get_ylabel() == "share of the last 2 rounds held"
    assert [line.get_ydata()[0] for line in axes.lines] == [0.5]


def test_curves_are_means_with_the_range_of_the_seeds(axes):
    plot.curves(RUNS, axes, across="bytes")
    ours, greedy = axes.lines
    assert ours.get_xdata().tolist() == [3, 6]
    np.testing.assert_allclose(ours.get_ydata(), [0.3, 0.55])
    assert (ours.get_color(), greedy.get_color()) == ("#0072B2", "#D55E00")
    assert axes.get_xlabel() == "MB moved, down and up"


def test_a_load_cv_of_nothing_has_a_place_on_its_axis(axes):
    plot.curves({"optimal": {0: EVEN}, "mine": {0: ODD}}, axes, value="load_cv")
    assert axes.get_yscale() == "symlog"
    assert np.isfinite(axes.transData.transform([(1, 0), (1, 0.5)])).all()
    assert axes.lines[0].get_ydata().tolist() == [0, 0]


def test_comparisons_name_data_strategies_and_seeds_and_share_scales(tmp_path):
    figure = plot.comparison_figure(
        RUNS, {0: DOMAIN, 1: DOMAIN}, 2, plot.described(build_config({})))
    assert figure.get_suptitle() == "digits, rotation, 20 clients x 8 experts, 2 seeds, 0 to 1"
    panels = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in panels] == [
        "optimal, seed 0, CV 0.0000", "greedy, seed 0, CV 0.5000", "optimal, seed 0",
        "greedy, seed 0"]
    assert panels[0].get_ylim() == panels[1].get_ylim()
    assert panels[0].get_ylim()[1] >= 6
    plot.save(figure, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_history_whose_older_rounds_lack_figures_has_gaps(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plot, "save", lambda figure, path: figures.append(figure))
    plot.draw_history([{"round": 0}, {"round": 1, "a": None}, {"round": 2, "a": 0.5}],
                      tmp_path / "h.png")
    np.testing.assert_array_equal(figures[0].axes[0].lines[0].get_ydata(), [np.nan, np.nan, 0.5])
