"""The client for people. Read in this order: ``program`` (the terminal and the loop), ``dialogue`` (commands),
``questions`` (who one is), ``destination`` (where lines without a command go), ``filetalk`` (files), ``forumtalk`` and
``threads`` (the forum), ``commandline`` (what is typed), ``sentences`` (what is read, a module for each feature)."""
