"""How long the server takes to redraw the data page: `python -m benchmarks.data_page`.

A slider moves, and the page with 16 samples of 300×300 (thesis preset) is made anew. Measured
through Streamlit's own AppTest, which runs the whole page where a browser reruns a fragment of it,
so the figure is an upper bound.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

NUM_MOVES = 20


def main() -> None:
    """Move the rotation slider and print the time of each redraw."""
    with tempfile.TemporaryDirectory() as directory:
        os.environ["POLYP_WORKSPACE"] = directory
        app = AppTest.from_file(str(Path(__file__).parents[1] / "app.py"), default_timeout=60)
        app.session_state["preset"] = "thesis"
        app.run()
        app.switch_page("pages/data.py").run()
        times_ms = []
        for move in range(NUM_MOVES):
            app.slider(key="setting augmentation.rotation_deg").set_value(float(10 + move))
            started = time.perf_counter()
            app.run()
            times_ms.append(1000 * (time.perf_counter() - started))
            if app.exception or len(app.get("image")) != 17:
                raise SystemExit("the page did not draw its pictures")
    print(
        f"redraw of 16 samples: median {statistics.median(times_ms):.0f} ms, "
        f"min {min(times_ms):.0f}, max {max(times_ms):.0f}, n = {NUM_MOVES}"
    )


if __name__ == "__main__":
    main()
