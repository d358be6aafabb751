"""``python -m tritier``: the command line."""

import sys

from tritier.cli import main

if __name__ == "__main__":
    sys.exit(main())
