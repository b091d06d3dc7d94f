"""Words and bytes: what a line on the wire is and means. No sockets, no files, no clock. Reference: ``WIRE.md``."""
