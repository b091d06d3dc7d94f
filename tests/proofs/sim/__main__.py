"""``make sim SEED=1 SCHEDULES=1000``: so many schedules; or one, with a trace of its steps."""

from __future__ import annotations

import sys

from tests.proofs.sim.runner import main

sys.exit(main(sys.argv[1:]))
