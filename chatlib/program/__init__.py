"""The client for people. Read in this order: ``program`` (the terminal and the loop), ``dialogue`` (commands),
``questions`` (who one is), ``saying`` (what one says to others) with ``destination`` (where lines without a command
go), ``places`` (where something waits) and ``ownlines`` (what the server does not have yet), ``filetalk`` (files),
``forumtalk`` and ``threads`` (the forum), ``commandline`` (what is typed), ``sentences`` (what is read, a module for
each feature)."""
