"""``python -m weftdb.bench``."""

import sys

from weftdb.bench.main import main

if __name__ == "__main__":
    sys.exit(main())
