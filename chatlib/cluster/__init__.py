"""What several servers share: the log that they agree on, over an engine that keeps it (NATS JetStream).

Imported by `server` alone. Must not know what a command means.
"""
