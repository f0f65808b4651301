"""What coordinators tell one another about loads, and the plans that come of it."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from bus.messages import BatchOrder, WorkerNotice, decode_control, encode
from bus.messages import Control as ControlMessage
from bus.scaling import FrontendInformation, Order, decode_scaling
from coordinator.crew import GONE_SECONDS, Crew
from coordinator.planning.counting import Counting
from coordinator.planning.office import LEARN_SECONDS, Office, batch_order, in_words
from core.errors import BadMessage
from policy.slo.pipeline import Pipeline, PolicyName, Stage, Workers, checked
from policy.slo.tuner import HOLD_SECONDS

SECONDS = {1: 0.069, 2: 0.117, 4: 0.209, 8: 0.396, 16: 0.771, 32: 1.544}
START = 5000.0


def pipeline(name: str = "p", *, most: int = 60, least: int = 1, slo: float = 1.0) -> Pipeline:
    stages = [
        Stage(
            id=id,
            model=f"{name}-{id}",
            profile=SECONDS,
            after=after,
            workers=Workers(least=least, most=most),
        )
        for id, after in (("a", list[str]()), ("b", ["a"]))
    ]
    return checked(Pipeline(name=name, slo_seconds=slo, stages=stages))


class Site:
    """An office, its clock and its workers."""

    def __init__(self, *pipelines: Pipeline) -> None:
        self.now = START
        self.workers: dict[str, int] = {}
        self.office = Office(lambda model: self.workers.get(model, 0), self.now)
        self.office.set({each.name: each for each in pipelines})

    def go(self, seconds: float, rates: dict[str, float], *, senders: int = 1) -> list[tuple[str, ...]]:
        """What had changed each half second."""
        changes = []
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            counts = {name: [round(rate / 10 / senders)] * 5 for name, rate in rates.items()}
            for number in range(senders):
                self.office.hear(FrontendInformation(sender=str(number), seconds=0.1, offered=counts), self.now)
            changes.append(tuple(self.office.changed(self.now)))
        return [each for each in changes if each]

    def workers_of(self, name: str) -> list[int]:
        return [stage.workers for stage in self.office.plans()[name][1].stages.values()]


def test_each_pipeline_has_its_own_plan() -> None:
    site = Site(pipeline("p"), pipeline("q"))
    site.go(10, {"p": 200, "q": 10})
    assert site.workers_of("p")[0] > 5 * site.workers_of("q")[0]
    assert site.office.rate("p", site.now) == pytest.approx(200, rel=0.1)


def test_the_load_is_that_of_all_coordinators() -> None:
    one, three = Site(pipeline()), Site(pipeline())
    one.go(10, {"p": 300})
    three.go(10, {"p": 300}, senders=3)
    assert three.workers_of("p") == one.workers_of("p")


def test_what_is_told_of_unknown_pipelines_is_nothing() -> None:
    site = Site(pipeline())
    site.go(2, {"other": 300})
    assert site.workers_of("p") == [1, 1]


def test_a_change_is_told_once() -> None:
    site = Site(pipeline())
    assert site.go(30, {"p": 0}) == [("p",)]
    assert site.go(10, {"p": 300})
    assert site.go(60, {"p": 300})[1:] == []


def test_after_a_start_nobody_who_is_there_is_sent_away_before_the_load_is_known() -> None:
    site = Site(pipeline(most=7))
    site.workers = {"p-a": 5, "p-b": 9}
    site.go(LEARN_SECONDS - 1, {"p": 10})
    assert site.workers_of("p") == [5, 7]
    site.go(2, {"p": 10})
    assert max(site.workers_of("p")) <= 2


def test_a_new_description_is_planned_for_the_load_that_is_known() -> None:
    site = Site(pipeline())
    site.go(20, {"p": 300})
    high = site.workers_of("p")
    site.office.set({"p": pipeline(slo=2.0)})
    assert site.go(0.5, {"p": 300}) == [("p",)]
    assert min(site.workers_of("p")) > min(high) / 2


def test_a_pipeline_that_is_gone_has_no_plan() -> None:
    site = Site(pipeline("p"), pipeline("q"))
    site.go(1, {})
    site.office.set({"q": pipeline("q")})
    assert site.go(1, {"p": 100}) == []
    assert set(site.office.plans()) == {"q"}


def test_while_something_waits_not_all_workers_go() -> None:
    site = Site(pipeline(least=0))
    site.go(2, {"p": 10})
    waiting = FrontendInformation(sender="s", seconds=0.1, waiting={"p": {"a": 0, "b": 1}})
    for _ in range(12):
        site.office.hear(waiting, site.now)
        site.go(HOLD_SECONDS, {})
    assert site.workers_of("p") == [1, 1]
    site.go(200, {})
    assert site.workers_of("p") == [0, 0]


def test_workers_are_told_size_policy_and_profile() -> None:
    site = Site(pipeline())
    site.go(5, {"p": 300})
    described, plan = site.office.plans()["p"]
    order = batch_order(described, described.stages[0], plan)
    assert order.size == plan.stages["a"].size > 1
    assert order.seconds == SECONDS
    assert decode_control(encode(ControlMessage(batch=order))).batch == order


def test_every_policy_can_be_ordered() -> None:
    for policy in get_args(PolicyName):
        order = BatchOrder(size=1, policy=policy, seconds={1: 0.1})
        assert decode_control(encode(ControlMessage(batch=order))).batch == order


def test_a_plan_reads_as_a_sentence() -> None:
    site = Site(pipeline())
    site.go(60, {"p": 20})
    described, plan = site.office.plans()["p"]
    assert in_words(described, plan).startswith("for 21.1 requests a second: a: ")
    assert "; b: 2 workers, batches of 2" in in_words(described, plan)


def test_requests_are_counted_in_the_span_in_which_they_came() -> None:
    counting = Counting(100.0)
    counting.add("p", 1, 100.05)
    counting.add("p", 2, 100.31)
    counting.add("q", 5, 100.49)
    assert counting.take(100.45) == {"p": [1, 0, 0, 2], "q": [0, 0, 0, 0]}
    assert counting.take(100.52) == {"p": [0], "q": [5]}


def test_after_a_long_stop_only_the_last_spans_are_told() -> None:
    counting = Counting(100.0)
    counting.add("p", 1, 100.05)
    counting.add("p", 7, 9_999.95)
    assert counting.take(10_000.05)["p"][-1] == 7
    assert len(counting.take(50_000.0)["p"]) <= 320


def notice(node: str, **fields: Any) -> WorkerNotice:
    return WorkerNotice(node=node, model="m", node_type="mock", slots=1, **fields)


def test_workers_are_those_that_have_told_lately_and_do_not_leave() -> None:
    crew = Crew()
    assert crew.hear(notice("1"), 0.0)
    assert crew.hear(notice("2"), 10.0)
    assert not crew.hear(notice("2"), 11.0)
    assert crew.count("m", 12.0) == 2
    assert crew.count("m", GONE_SECONDS + 1) == 1
    assert not crew.hear(notice("2", leaving=True), GONE_SECONDS + 2)
    assert crew.count("m", GONE_SECONDS + 2) == 0
    assert crew.count("unknown", 0.0) == 0


@pytest.mark.parametrize(
    "message",
    [
        FrontendInformation(sender="s", seconds=0.1, offered={"p": [0, 3]}, waiting={"p": {"a": 1}}),
        FrontendInformation(sender="s", seconds=0.1, ready={"m": 4}),
        Order(pipeline="p", workers={"a": 2, "b": 0}, at=1.5, planner="c"),
        Order(pipeline="p", workers={"a": 2}, at=1.5, planner="c", models={"a": "m"}),
    ],
)
def test_scaling_messages_read_back(message: FrontendInformation | Order) -> None:
    assert decode_scaling(encode(message)) == message
    assert decode_scaling(msgspec.json.encode(msgspec.to_builtins(message) | {"later": 1})) == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff",
        b'{"type":"order","pipeline":"p","workers":{"SECRET":-1},"at":1,"planner":"c"}',
        b'{"type":"frontend","sender":"s","seconds":0}',
    ],
)
def test_what_is_no_scaling_message_is_refused_without_its_content(body: bytes) -> None:
    with pytest.raises(BadMessage, match="not a scaling message") as caught:
        decode_scaling(body)
    assert "SECRET" not in str(caught.value)
