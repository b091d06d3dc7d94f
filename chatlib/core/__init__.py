"""The world: what all commands add up to. A deterministic state machine without sockets, files, clock or chance."""
