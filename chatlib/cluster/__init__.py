"""Several servers, one world: what they share through an engine that none of them is.

The engine keeps one ordered log, and the bytes of files and snapshots. Each server appends its commands to it and
executes everybody's in the log's order. ``link`` is the connection to whichever of the engine's nodes answers; what is
said over it is the others' business. Must not know what a command means, nor who asked for it. Imported by ``server``.
"""
