"""A person's terminal: keys, the line being typed, the screen, the modes. Knows no chat; serves both programs."""
