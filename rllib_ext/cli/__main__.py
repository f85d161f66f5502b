"""``python -m rllib_ext.cli``: the same as ``rllib-ext``."""

import sys

from rllib_ext.cli import main

if __name__ == "__main__":
    sys.exit(main())
