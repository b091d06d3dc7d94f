"""Descriptors and time: one ``selectors`` loop, one thread. Knows nothing of chat."""
