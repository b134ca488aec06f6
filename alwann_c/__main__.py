"""`python -m alwann_c`."""

import sys

from alwann_c.cli import main

if __name__ == "__main__":
    sys.exit(main())
