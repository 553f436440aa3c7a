"""Run the command line by ``python -m alignsolve``."""

import sys

from alignsolve.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
