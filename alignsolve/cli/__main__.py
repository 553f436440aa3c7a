"""The path of 0.1 for ``python -m alignsolve``."""

import sys

from alignsolve.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
