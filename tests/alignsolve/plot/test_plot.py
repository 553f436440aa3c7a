"""Pictures show the numbers that they are about, with their units, on the Axes that are given."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

import alignsolve as al
from alignsolve.plot.answers import MOST_ROWS
from alignsolve.plot.style import COLOURS, figure_bytes, line_styles, new_figure
from alignsolve.progress import Progress

PROBLEM = al.AlignmentProblem(
    [[3, 1, 0], [2, 2.5, 0], [1, 0, 2], [0, 1, 3]], 1, min_experts=1, load_max=[1, 2, 2],
    load_min=[0, 1, 0], client_ids=["a$", "b", "c", "d"], expert_ids=["x", "y", "z"])


@pytest.fixture
def axes():
    return new_figure(4, 3, dpi=50).subplots()


@pytest.fixture(scope="module")
def result():
    return al.solve(PROBLEM, "ortools-mcf")


def labels(axes):
    return axes.get_xlabel(), axes.get_ylabel()


def test_assignments_are_shares_of_each_row(result, axes):
    assert al.plot.assignment(result, axes) is axes
    image = axes.images[0]
    # Sorted by what they hold: a has x; b y; c and d z.
    assert image.get_array().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert image.get_clim() == (0, 1)
    assert [text.get_text() for text in axes.get_yticklabels()] == [r"a\$", "b", "c", "d"]
    assert labels(axes) == ("expert", "clients, those that hold alike together")
    assert axes.get_title() == "assignment: optimal"
    assert image.colorbar.ax.get_ylabel() == "share of the clients that hold it"
    assert figure_bytes(axes.figure, "png").startswith(b"\x89PNG")


def test_new_figures_say_what_they_are_of_and_names_do_not_run_into_legends():
    names = [f"hospital-expert-{at:02}" for at in range(9)]
    problem = al.AlignmentProblem(np.eye(9), 1, load_max=2, expert_ids=names)
    axes = al.plot.loads(al.solve(problem, "ortools-mcf"))
    assert axes.get_title() == "loads: 9 clients x 9 experts, optimal, ortools-mcf"
    assert [text.get_text() for text in axes.get_xticklabels()][:2] == [
        "hospit…expert-00", "hospit…expert-01"]
    axes.figure.canvas.draw()
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1
    al.plot.assignment(al.solve(problem), axes, groups=["$\\frac$"] * 9)
    assert [text.get_text() for text in axes.get_yticklabels()] == [r"\$\frac\$ (9)"]
    figure_bytes(axes.figure, "png")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.close(axes.figure)


def test_groups_are_rows_and_many_clients_share_them(result, axes):
    al.plot.assignment(result, axes, groups=["north", "south", "north", "south"])
    assert axes.images[0].get_array().tolist() == [[0.5, 0, 0.5], [0, 0.5, 0.5]]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["north (2)", "south (2)"]
    with pytest.raises(al.ProblemError, match="groups has 1 labels; give 4"):
        al.plot.assignment(result, axes, groups=["north"])
    many = al.solve(al.AlignmentProblem(np.eye(3)[np.arange(130) % 3], 1), "ortools-mcf")
    axes.clear()
    al.plot.assignment(many, axes)
    shown = axes.images[-1].get_array()
    assert shown.shape == (MOST_ROWS, 3)
    np.testing.assert_allclose(shown.sum(axis=1), 1)
    assert (shown == 1).sum() >= MOST_ROWS - 2


def test_loads_show_bounds_that_bind_and_targets(result, axes):
    al.plot.loads(result, axes)
    assert [bar.get_height() for bar in axes.patches] == result.loads.tolist() == [1, 1, 2]
    fewest, most = axes.lines
    assert fewest.get_xydata().tolist() == [[1, 1]]
    assert most.get_xydata().tolist() == [[0, 1], [1, 2], [2, 2]]
    assert labels(axes) == ("expert", "holders")
    axes.clear()
    aimed = PROBLEM.replace(load_penalty=[0, 1, 1], load_target=1.5, load_min=0, load_max=None)
    al.plot.loads(al.solve(aimed, "ortools-mcf"), axes)
    assert axes.lines[-1].get_xydata().tolist() == [[1, 1.5], [2, 1.5]]


def test_prices_are_the_answers_or_given(result, axes):
    al.plot.prices(result, axes)
    assert [bar.get_height() for bar in axes.patches] == result.prices.tolist()
    assert axes.get_ylabel() == "price of a holder (fitness)"
    fleet = PROBLEM.replace(resources={"mb": al.Resource([1, 2, 1], 2)})
    answer = al.solve(fleet, "scipy-milp")
    with pytest.raises(al.ProblemError, match="no prices"):
        al.plot.prices(answer, axes)
    axes.clear()
    al.plot.prices(answer, axes, prices=al.explain(fleet, answer).prices)
    assert len(axes.patches) == 3
    with pytest.raises(al.ProblemError, match="give \\(3,\\), one per expert"):
        al.plot.prices(answer, axes, prices=[1.0])


def test_gaps_are_told_by_a_callback(axes):
    trace = [Progress("greedy", 3.0, math.inf, math.inf, 0.1),
             Progress("lagrangian", 4.0, 6.0, 0.5, 0.2), Progress("lagrangian", 5.0, 5.5, 0.1, 0.4)]
    al.plot.gap(trace, axes)
    bound, value = axes.lines[:2]
    assert value.get_ydata().tolist() == [3, 4, 5]
    assert math.isnan(bound.get_ydata()[0]) and bound.get_ydata()[1:].tolist() == [6, 5.5]
    assert axes.get_title() == "lagrangian: gap 0.1 after 0.4 s"
    assert labels(axes) == ("seconds", "objective")
    told: list[Progress] = []
    al.solve(PROBLEM, callback=told.append)
    al.plot.gap(told)
    with pytest.raises(al.ProblemError, match="trace is empty"):
        al.plot.gap([])


def test_profiles_state_whom_they_show(axes):
    score = SimpleNamespace(
        problem_class="mip", instances=4, profile={"one": [1.0, 2.0], "two": [2.0, math.inf]},
        summaries=[SimpleNamespace(backend=name) for name in ("one", "two", "few")])
    report = SimpleNamespace(scores=[SimpleNamespace(problem_class="flow", profile={}), score])
    al.plot.profile(report, axes)
    one, two = axes.lines
    assert one.get_xydata().tolist() == [[1, 1], [4, 1]]
    assert two.get_xydata().tolist() == [[1, 0], [2, 0.5], [4, 0.5]]
    assert axes.get_title() == "mip class: 2 common instances"
    assert axes.get_xlabel().splitlines()[1:] == [
        "shown: backends that support half of the 4 instances or more", "not shown: few"]
    with pytest.raises(al.ProblemError, match="class 'flow'"):
        al.plot.profile(report, axes, problem_class="flow")


def test_profiles_of_time_to_quality(axes):
    score = SimpleNamespace(
        problem_class="mip", instances=2, profile={}, summaries=[],
        quality_profiles={"1%": {"one": [1.0, 6.0], "two": [2.0, 3.0]}, "0.02%": {}})
    report = SimpleNamespace(scores=[score])
    al.plot.profile(report, axes, gap="1%")
    one, two = axes.lines
    assert one.get_xydata().tolist() == [[1, 0.5], [2, 1], [4, 1]]
    assert two.get_xydata().tolist() == [[1, 0.5], [2, 1], [4, 1]]
    assert axes.get_xlabel().startswith("time to a gap of 1% over the fastest")
    with pytest.raises(al.ProblemError, match="no two backends"):
        al.plot.profile(report, axes, gap="0.02%")
    with pytest.raises(al.ProblemError, match="gap is '5%'; give one of 1%"):
        al.plot.profile(report, axes, gap="5%")


def test_what_has_no_answer_is_not_drawn(axes):
    none = al.solve(PROBLEM.replace(load_min=3))
    for draw in (al.plot.assignment, al.plot.loads, al.plot.prices):
        with pytest.raises(al.ProblemError, match="no answer to draw, but status 'infeasible'"):
            draw(none, axes)


def test_lines_differ_and_files_repeat():
    styles = line_styles(map(str, range(21)))
    assert len({tuple(style.items()) for style in styles.values()}) == 21
    assert [styles[str(at)]["color"] for at in range(7)] == list(COLOURS)
    figures = [new_figure(2, 2) for _ in range(2)]
    for figure in figures:
        figure.subplots().plot([1, 2])
    assert figure_bytes(figures[0], "svg") == figure_bytes(figures[1], "svg")


def test_without_axes_a_figure_is_made(result):
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("Agg")
    made = al.plot.loads(result)
    assert made.figure in map(pyplot.figure, pyplot.get_fignums())
    pyplot.close(made.figure)
