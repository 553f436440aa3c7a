"""The check of installed versions: it needs no Flower, so `make test` runs it everywhere."""

import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

from fedloop.errors import EngineError

# Not imported as a part of its package, which needs Flower.
path = Path(__file__).parents[3] / "fedloop" / "flower" / "quiet.py"
spec = importlib.util.spec_from_file_location("quiet_alone", path)
quiet = importlib.util.module_from_spec(spec)
spec.loader.exec_module(quiet)


@pytest.fixture
def installed(monkeypatch):
    versions = {"flwr": "1.41.0", "typer": "0.20.1", "rich": "14.3.0"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(quiet, "version", version)
    return versions


@pytest.mark.parametrize("found", ["1.41.0", "1.42.3", "1.42.0rc1"])
def test_what_it_works_with_passes(installed, found):
    installed["flwr"] = found
    quiet.check_versions()


@pytest.mark.parametrize("found", ["0.17.0", "1.4.0", "1.40.9", "1.43.0", "2.0"])
def test_another_flower_is_refused_and_the_likely_reason_told(installed, found):
    installed["flwr"] = found
    with pytest.raises(EngineError, match=rf"flwr {found} is .*, and >=1\.41.*typer<0\.21"):
        quiet.check_versions()
    installed["typer"] = "0.26.1"
    with pytest.raises(EngineError, match=r"typer 0\.26\.1 is installed"):
        quiet.check_versions()


@pytest.mark.parametrize(("name", "found"), [("typer", "0.21.0"), ("rich", "15.0.0"),
                                             ("typer", "1.0")])
def test_a_typer_or_rich_above_the_caps_is_named(installed, name, found):
    installed[name] = found
    with pytest.raises(EngineError, match=rf"{name} {found} is installed.*pip install"):
        quiet.check_versions()


def test_no_flower_is_told_with_what_to_install(installed):
    del installed["flwr"]
    with pytest.raises(EngineError, match=r"pip install 'alignsolve\[flower\]'"):
        quiet.check_versions()


def test_the_installed_packages_agree():
    if importlib.util.find_spec("flwr") is None:
        pytest.skip("Flower is not installed: pip install 'alignsolve[flower]'")
    quiet.check_versions()


def test_the_caps_are_those_that_flower_declares():
    if importlib.util.find_spec("flwr") is None:
        pytest.skip("Flower is not installed: pip install 'alignsolve[flower]'")
    from packaging.requirements import Requirement

    asked = {one.name: one.specifier for one in
             map(Requirement, importlib.metadata.requires("flwr"))}
    for name in ("typer", "rich"):
        assert not asked[name].contains(quiet.NEEDED[name].removeprefix("<"))
