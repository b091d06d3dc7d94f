"""What is on disk: the journal, the flat text files, the message store, the two files that people edit."""
