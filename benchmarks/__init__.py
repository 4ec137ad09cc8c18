"""Scripts that measure and print a table; run from the project's folder."""

import os

from polyp_core.environment import ONEDNN

os.environ.setdefault(ONEDNN, "1")  # as for a worker, also where a script itself trains
