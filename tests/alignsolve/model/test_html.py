"""Tables in notebooks: well formed, short, escaped, without scripts."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

import alignsolve as al
from alignsolve.model.html import MOST_ROWS, facts, table

VOID = {"br", "meta", "img", "link", "hr", "use", "path"}
EVIL = "<script>alert('&')</script>"


class Outline(HTMLParser):
    """Collects text and tags, and refuses tags that do not close in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.cells = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


PROBLEM = al.AlignmentProblem(
    np.arange(60.0).reshape(20, 3) % 7, 1, load_max=8, client_ids=[EVIL, *map(str, range(19))],
    loads={EVIL: al.Load(1.0, max=9)})


@pytest.fixture(scope="module")
def shown():
    result = al.solve(PROBLEM)
    plan = al.Aligner(3).plan(["a", "b"])
    infeasible = al.solve(PROBLEM.replace(load_min=9))
    explainer = al.Explainer(PROBLEM, result)
    return {
        "problem": PROBLEM, "result": result, "certificate": result.certificate, "plan": plan,
        "conflict": infeasible.conflict, "client": explainer.client(0),
        "expert": explainer.expert(0), "whole": explainer.overall(),
    }  # fmt: skip


@pytest.mark.parametrize(("name", "cells"), [
    ("problem", ["20 clients x 3 experts", "mip: not a flow because of named loads",
                 "at least 0, at most 1", EVIL]),
    ("result", ["status", "optimal (proved)", "objective"]), ("certificate", ["verdict", "solver"]),
    ("plan", ["2", "optimal", "2, 2 new", "0 to 1"]), ("conflict", ["load_min", "9"]),
    ("client", ["expert", "changes beyond", "held"]), ("expert", ["holds it", "does not"]),
    ("whole", ["expert 0", "holders", "one slot more"]),
])
def test_everything_shows_a_short_table(name, cells, shown):
    page = shown[name]._repr_html_()
    outline = Outline(page)
    for cell in cells:
        assert any(cell in found for found in outline.cells), cell
    assert outline.tags.count("tr") <= MOST_ROWS + 1
    assert "script" not in outline.tags
    assert outline.tags.count("table") == 1


def test_results_keep_their_lines_together(shown):
    names = Outline(shown["result"]._repr_html_()).cells[0::2]
    # Where kernels are not compiled, a line says who did not answer for that.
    assert [name for name in names if name != "not lagrang"][:3] == [
        "status", "backend", "objective"]


def test_text_is_escaped_and_long_tables_are_cut():
    page = table("one\ntwo", ("a", "b"), [(EVIL, at) for at in range(30)], ["more"])
    assert EVIL not in page
    assert Outline(page).tags.count("tr") == MOST_ROWS + 1
    assert "and 18 more" in page and "one<br>two" in page
    assert Outline(facts("t", [("a", ""), ("b", 0), (EVIL, EVIL)])).cells == ["b", "0", EVIL, EVIL]


def test_problems_without_clients_have_a_table():
    outline = Outline(al.AlignmentProblem(np.zeros((0, 2)), 1)._repr_html_())
    assert "0 clients x 2 experts" in outline.cells
