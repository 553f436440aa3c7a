"""The command line: parsing and printing only."""

from alignsolve.cli.main import main

__all__ = ["main"]
