"""Pages of HTML: well formed, readable on a phone, and with nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alignsolve.errors import ReportError
from alignsolve.plot.style import figure_bytes, new_figure
from alignsolve.report import Page, Section, Table, inline_svg, render
from tests.alignsolve.model.test_html import EVIL, Outline

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)


@pytest.fixture(scope="module")
def page():
    figure = new_figure(3, 2)
    axes = figure.subplots()
    axes.plot([1, 2], label=EVIL.replace("$", ""))
    axes.imshow([[0, 1], [1, 0]])
    axes.legend()
    tables = [Table(("a", "b"), [(EVIL, "1"), ("x", "2")], "a note"), Table((), [("c", "3")])]
    return render(Page("A title", f"About {EVIL}.", [
        Section("First", ["One.", "Two."], tables),
        Section("Second", svg=inline_svg(figure_bytes(figure, "svg")), caption="A line."),
    ]))


def check_page(page):
    """Check what holds of every page; return its outline."""
    outline = Outline(re.sub(r"<!DOCTYPE html>", "", page, count=1))
    assert page.startswith("<!DOCTYPE html>")
    assert "script" not in outline.tags and "link" not in outline.tags
    loads = [value for name, value in outline.attributes
             if name in ("src", "href", "xlink:href", "data", "action")]
    # Marks within the page, and pictures that are part of it.
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in loads)
    assert not re.search(r"@import|url\((?!#)", page)
    assert ("name", "viewport") in outline.attributes
    assert page.count("width=device-width") == 1
    tables = outline.tags.count("table")
    assert page.count('<div class="wide">\n<table') == tables
    return outline


def test_pages_stand_alone_and_are_escaped(page):
    outline = check_page(page)
    assert EVIL not in page
    assert outline.cells == ["a", "b", EVIL, "1", "x", "2", "c", "3"]
    assert [outline.tags.count(tag) for tag in ("h1", "h2", "svg", "figcaption")] == [1, 2, 1, 1]
    assert page.count("<p>") == 3


def test_pictures_keep_their_box_and_lose_their_size(page):
    (head,) = re.findall(r"<svg[^>]*>", page)
    assert "viewBox" in head
    assert "width=" not in head and "height=" not in head
    assert "<metadata" not in page and "<?xml" not in page


def test_what_is_missing_is_named(page, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ReportError, match=r"pip install 'alignsolve\[report\]'"):
        render(Page("t", "s", []))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_shows_it(page, tmp_path):
    path = Path(tmp_path / "page.html")
    path.write_text(page)
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=400,800",
         "--dump-dom", path.as_uri()], capture_output=True, text=True, check=True, timeout=60)
    assert "<h2>Second</h2>" in done.stdout
