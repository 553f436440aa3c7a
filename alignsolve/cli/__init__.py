"""The command line: parsing and printing only."""

import warnings

with warnings.catch_warnings():
    # typer 0.20 imports names that click 8.5 deprecates: nothing that users can change.
    warnings.simplefilter("ignore", DeprecationWarning)
    import typer

from alignsolve.cli.main import main

__all__ = ["main", "typer"]
