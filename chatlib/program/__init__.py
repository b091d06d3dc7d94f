"""The client for people. Read in this order: ``program`` (the terminal and the loop), ``dialogue`` (commands),
``questions`` (who one is), ``saying`` (what one says to others) with ``destination`` (where lines without a command
go), ``places`` (where something waits) and ``ownlines`` (what the server does not have yet), ``pasttalk`` (what was
said before), ``filetalk`` (files), ``forumtalk`` and ``threads`` (the forum), ``peertalk`` and ``yesorno`` (private
talk), ``banktalk`` (cheques), ``commandline`` (what is typed), ``sentences`` (what is read, a module for each feature).

Apart from that: ``options`` and ``arguments`` (the flags), ``scripting`` (errands without a person), ``steering`` (the
server's console from afar), ``running`` (any of these at its terminal)."""
