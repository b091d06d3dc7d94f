"""The short one of `make cluster`: in one cluster a server, the engine's leader and a follower are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chance import new_chance
from tests.cluster.engine import why_not
from tests.cluster.servers import WORLD
from tests.cluster.trial import Trial
from tests.patience import LIMIT

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


def test_nothing_acknowledged_is_lost_or_done_twice_when_one_dies(tmp_path: Path) -> None:
    with Trial(tmp_path, new_chance("cluster"), rate=300.0) as trial:
        trial.load(0.5)
        server = trial.victims("server")[0]
        trial.broken(server.kill)
        assert trial.crowd.run(LIMIT, trial.all_answered), "everybody is answered by the others"
        server.start(wait=False)
        assert trial.crowd.run(LIMIT, lambda: server.listens)
        for who in ("follower", "leader"):
            node = trial.engine.node(who, WORLD)
            trial.broken(node.kill)
            assert trial.crowd.run(LIMIT, trial.all_answered), f"it goes on without the engine's {who}"
            node.start()
            trial.load(0.5)
        result = trial.finish()
        assert not result.wrong, "\n".join(result.wrong)
        assert result.messages > 300
