"""Run the command line by ``python -m fedloop``."""

import sys

from fedloop.cli import main

if __name__ == "__main__":
    sys.exit(main())
