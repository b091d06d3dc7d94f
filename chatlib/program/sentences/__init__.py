"""What people read. Each feature has a module of sentences; they are listed here, and nowhere else.

What can be done with them is in :mod:`.book`. A test fails when a command that people give, or an event that the
server sends, has no sentence.
"""

from chatlib.program.sentences import admin, bank, book, entry, files, forum, history, peers, private, talk

for _feature in (entry, admin, talk, files, forum, bank, peers, private, history):
    book.add(_feature.SENTENCES)
