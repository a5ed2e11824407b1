"""The pure decision: slots and fair order."""

from hypothesis import given
from hypothesis import strategies as st

from burnish.tasks.decide import STEP, Queue, decide, free


@given(
    ceiling=st.integers(0, 20),
    moves=st.lists(st.booleans(), max_size=80),
    weight=st.integers(1, 1000),
    time=st.integers(0, 2**50),
)
def test_slots_never_exceed_the_ceiling(ceiling: int, moves: list[bool], weight: int, time: int) -> None:
    """Whatever comes and goes: ready at most `ceiling`, parked only when the ceiling is reached, tags never go back."""
    queue = Queue(slots=0, ceiling=ceiling, next_tag=0, weight=weight)
    last = -1
    for comes in moves:
        if comes:
            verdict = decide(queue, time)
            assert verdict.ready == (queue.slots < ceiling)
            if verdict.tag is not None:
                assert verdict.tag > last or last == -1
                assert verdict.tag >= time
                last = verdict.tag
            queue = verdict.queue
        elif queue.slots:
            queue = free(queue, 1)
        assert 0 <= queue.slots <= ceiling


@given(weights=st.lists(st.integers(1, 100), min_size=2, max_size=5), backlog=st.integers(50, 300))
def test_busy_accounts_share_a_lane_by_their_weight(weights: list[int], backlog: int) -> None:
    """All submit a backlog at once; in any prefix of the order, each has had its share to within one task each."""
    tags: list[tuple[int, int]] = []
    for account, weight in enumerate(weights):
        queue = Queue(slots=0, ceiling=10**6, next_tag=0, weight=weight)
        for _ in range(backlog):
            verdict = decide(queue, 1_000_000)
            queue = verdict.queue
            assert verdict.tag is not None
            tags.append((verdict.tag, account))
    tags.sort()
    served = [0] * len(weights)
    for tag, account in tags:
        served[account] += 1
        if max(served) >= backlog:
            break
        for other, weight in enumerate(weights):
            step = max(1, STEP // weight)
            due = (tag - 1_000_000) // step + 1
            assert abs(served[other] - due) <= 1


def test_a_new_account_does_not_wait_behind_an_old_backlog() -> None:
    """Whoever comes first is served next, not after the ten thousand tasks of another."""
    busy = Queue(slots=0, ceiling=10**6, next_tag=0, weight=100)
    tags = []
    for _ in range(10_000):
        verdict = decide(busy, 5_000)
        busy = verdict.queue
        tags.append(verdict.tag or 0)
    smallest_ready = tags[3_000]  # three thousand have been claimed
    newcomer = decide(Queue(slots=0, ceiling=10**6, next_tag=0, weight=100), smallest_ready)

    assert newcomer.tag == smallest_ready


def test_an_account_that_was_idle_has_saved_nothing_up() -> None:
    """Its next tag lies behind virtual time, so it begins where everybody is."""
    verdict = decide(Queue(slots=0, ceiling=5, next_tag=10, weight=100), 9_999)

    assert verdict.tag == 9_999
