"""Budgets: so much in a tick, the rest later, in order."""

from __future__ import annotations

from chatlib.reactor.budget import Budget
from chatlib.reactor.loop import Loop


def loop() -> Loop:
    return Loop(lambda fault: None)


def test_what_is_spent_comes_back_with_the_next_tick() -> None:
    turns = loop()
    budget = Budget(turns, 3)
    assert budget.left() == 3 and budget.free()
    budget.spend(2)
    assert budget.left() == 1 and budget.free()
    budget.spend(5)
    assert budget.left() == -4 and not budget.free()
    turns.ticks += 1
    assert budget.left() == 3 and budget.free()


def test_those_who_wait_are_resumed_in_order_as_far_as_it_goes() -> None:
    turns, done = loop(), list[str]()
    budget = Budget(turns, 3)

    def work(name: str, times: int) -> None:
        done.append(name)
        budget.spend(1)
        if times > 1:
            budget.wait(lambda: work(name, times - 1))

    for name, times in (("a", 3), ("b", 1), ("c", 2), ("d", 2)):
        budget.wait(lambda name=name, times=times: work(name, times))
    assert not budget.free(), "newcomers queue up behind those who wait"
    ticks = []
    while len(budget):
        done.clear()
        turns.tick()
        ticks.append("".join(done))
    assert ticks == ["abc", "dac", "da"]
    turns.close()


def test_one_that_fails_costs_the_others_nothing() -> None:
    faults: list[BaseException] = []
    turns, done = Loop(faults.append), list[str]()
    budget = Budget(turns, 10)

    def fail() -> None:
        raise ValueError("a fault")

    budget.wait(lambda: done.append("first"))
    budget.wait(fail)
    budget.wait(lambda: done.append("last"))
    turns.tick()
    turns.tick()
    assert done == ["first", "last"] and len(faults) == 1
    turns.close()


def test_nothing_of_a_closed_budget_is_spent_and_nobody_is_resumed_until_it_is_opened() -> None:
    turns, done = loop(), list[str]()
    budget = Budget(turns, 3)
    budget.wait(lambda: done.append("first"))
    budget.close()
    budget.wait(lambda: done.append("second"))
    assert budget.closed and budget.grant(1) == 0 and not budget.free()
    turns.tick()
    assert done == [] and not turns._again, "nothing goes round and round meanwhile"
    budget.reopen()
    turns.tick()
    assert done == ["first", "second"] and budget.grant(1) == 1
    turns.close()
