"""stub"""


class Failed(Exception):
    pass


def play(seed, number, totals):
    pass
