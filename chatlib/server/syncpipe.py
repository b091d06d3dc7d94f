"""The pipe over which the syncing child says that the disk is done, as a channel of the loop.

It only marks: what a disk says is for the commit phase, where a failure is fail-stop.
"""


class SyncPipe:
    """`marked`: something has come since this was last taken back."""

    marked = False

    def readable(self) -> None:
        self.marked = True

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...
