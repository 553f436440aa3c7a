"""The README says what its code prints; README and docs are short, plain, and well linked."""

from __future__ import annotations

import enum
import inspect
import re
import sys
from functools import reduce
from pathlib import Path

import pytest

import alignsolve as al
import fedloop
from alignsolve.backends import BACKEND_NAMES
from tests.files import ROOT

README = ROOT / "README.md"
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md")
               if not {"_build", "jupyter_execute", "generated"} & set(page.parts))

#: Texts beside the site. Those of the past quote the words of their time.
BESIDE = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md",
          *sorted((ROOT / "examples").glob("*/README.md"))]
PAST = [ROOT / "CHANGELOG.md", ROOT / "docs" / "evidence" / "failed.md"]

EXPORTS = [f"alignsolve.{name}" for name in al.__all__ if name != "plot"]
EXPORTS += [f"alignsolve.plot.{name}" for name in al.plot.__all__]
EXPORTS += [f"fedloop.{name}" for name in fedloop.__all__]

#: Words of 0.1 that only its authors understood.
PRIVATE = re.compile(
    r"\b(haggl\w*|bargain\w*|market\w*|give[sn]? way|gave way|rival|mended)\b", re.IGNORECASE)


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_code_of_the_readme_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {}
    blocks = re.findall(r"```(\w*)\n(.*?)```", README.read_text(), re.DOTALL)
    code = [text for language, text in blocks if language == "python"]
    for block in code:
        exec(block, scope)
    said = next(text for language, text in blocks if "certified by prices" in text)
    seconds = re.compile(r"[\d.]+ s$", re.MULTILINE)
    assert seconds.sub("", capsys.readouterr().out) == seconds.sub("", said)


def test_readme_is_read_in_two_minutes() -> None:
    text = without_code(README.read_text())
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
    assert len(text.split()) <= 700
    first = " ".join(README.read_text().split()[:80])
    assert all(line in first for line in ("pip install .", "make bench", "make test"))


@pytest.mark.parametrize("page", [*BESIDE, PAST[0], *PAGES],
                         ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_and_words_are_plain(page: Path) -> None:
    text = without_code(page.read_text())
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
    if page not in PAST:
        assert not PRIVATE.findall(text)


def test_reference_has_every_export_and_backend() -> None:
    reference = (ROOT / "docs" / "reference" / "api.md").read_text()
    told = set(re.findall(r"^   (\w+)$", reference, re.MULTILINE))
    assert told >= {name.rpartition(".")[2] for name in EXPORTS}
    backends = (ROOT / "docs" / "backends.md").read_text()
    assert all(f"`{name}`" in backends for name in BACKEND_NAMES)


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_has_numpydoc_and_an_example(name: str) -> None:
    export = reduce(getattr, name.split(".")[1:], sys.modules[name.split(".")[0]])
    text = export.__doc__ or ""
    assert not PRIVATE.findall(text)
    assert re.search(r"^    Examples\n    -{8}\n.*^    >>> ", text, re.MULTILINE | re.DOTALL)
    assert "+SKIP" not in text
    is_class = inspect.isclass(export)
    if is_class and issubclass(export, (enum.Enum, Exception)):
        return
    signature = inspect.signature(export)
    given = {parameter for parameter in signature.parameters if not parameter.startswith("_")}
    lines = re.findall(r"^    (\w[\w, *]*?)(?: : .*)?$", text, re.MULTILINE)
    told = {parameter for line in lines for parameter in re.split(r", ", line)}
    assert given <= told
    assert is_class or signature.return_annotation == "None" or "Returns\n    -------" in text


def test_every_page_is_in_the_contents() -> None:
    contents = "".join((ROOT / "docs" / name).read_text() for name in
                       ("index.md", "howto/index.md"))
    listed = {line.rpartition("/")[2] for line in contents.splitlines()}
    assert not {page.stem for page in PAGES} - listed - {"index"}
