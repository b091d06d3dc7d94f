"""How long a test waits for what must come: only what hangs takes so long, on however busy a machine.

On two cores without anything else to do, what comes takes a few seconds. A busy machine is given as many times longer
as it has more to do than cores.
"""

import os

LIMIT = 60.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # seconds
