"""The client for people. Read in this order: ``program`` (the terminal and the loop), ``dialogue`` (commands),
``questions`` (who one is), ``filetalk`` (files), ``commandline`` (what is typed), ``sentences`` (what
is read, a module for each feature)."""
