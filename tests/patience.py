"""How long a test waits for what must come: only what hangs takes so long, on however busy a machine."""

LIMIT = 300.0  # seconds
