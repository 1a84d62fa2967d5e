"""Jobs that Kueue lets go and takes back: what is made, what is said, what counts."""

from typing import Any

import pytest

from strata_builder import contract
from strata_operator import conditions, settings
from strata_operator.imagebuild import case, kueue, objects, questions, target
from strata_operator.registry import view
from support import imagebuilds as ib
from support.imagebuilds import NOW, World, ended, result, running

QUEUE = kueue.QUEUE
CLASS = "kueue.x-k8s.io/priority-class"


def job_of(body: Any, **options: Any) -> Any:
    seen = case.Observed(body, ib.registry(), ib.namespace())
    planned = questions.Job("sib-web-1", 1, 1, 1, "sha256:i", "Layers", "team/web")
    chosen = settings.Settings(namespace="strata-system", **options)
    to = target.Target(view.view(ib.registry()), "team/web")
    return objects.make(seen, to, planned, chosen, resolv_conf="", ca_bundle="").job


@pytest.mark.parametrize(
    ("own", "of_pod", "of_chart", "expected"),
    [
        ({}, {}, {}, {}),
        ({QUEUE: "q", CLASS: "high"}, {}, {}, {QUEUE: "q", CLASS: "high"}),
        ({}, {QUEUE: "q", "team": "web"}, {}, {QUEUE: "q"}),
        ({}, {}, {QUEUE: "all"}, {QUEUE: "all"}),
        ({QUEUE: "mine"}, {QUEUE: "pod", CLASS: "low"}, {QUEUE: "all"}, {QUEUE: "mine", CLASS: "low"}),
        ({CLASS: "high"}, {}, {}, {}),
        ({"kueue.x-k8s.io/prebuilt-workload-name": "w"}, {}, {}, {}),
    ],
)
def test_kueues_labels_are_on_the_job_alone_which_is_made_suspended(own, of_pod, of_chart, expected):
    body = ib.build(pod={"labels": of_pod})
    body["metadata"]["labels"] = own
    job = job_of(body, build_pod={"labels": of_chart})
    assert {k: v for k, v in job["metadata"]["labels"].items() if "kueue" in k} == expected
    template = job["spec"]["template"]["metadata"]["labels"]
    assert [key for key in template if "kueue" in key] == []
    assert ("team" in of_pod) == ("team" in template)
    assert job["spec"].get("suspend") is (True if expected else None)
    assert job["metadata"]["annotations"].get("strata.build/queue", "") == kueue.asked(expected)


class Queue:
    """A world whose ImageBuild goes through Kueue: Jobs are made suspended, as the API server then has them."""

    def __init__(self) -> None:
        body = ib.build()
        body["metadata"]["labels"] = {QUEUE: "builds"}
        self.world = World(body=body)
        self.world.step()
        self.set(suspended=True)

    @property
    def job(self) -> Any:
        return self.world.jobs[self.world.current["job"]]

    def set(self, *, suspended: bool) -> None:
        now = conditions.rfc3339(self.world.now)
        self.job["metadata"]["labels"] = {QUEUE: "builds"}
        self.job["spec"]["suspend"] = suspended
        said = {"type": "Suspended", "status": str(suspended), "lastTransitionTime": now}
        self.job["status"] = {"conditions": [said]} | ({} if suspended else {"startTime": now})

    def event(self, note: str, name: str = "", at: float = NOW) -> Any:
        name = name or f"job-{self.job['metadata']['name']}"[:57] + "-0a1b2"
        return ib.event("Pending", note, at) | {"regarding": {"kind": "Workload", "name": name}}


def test_a_build_in_kueues_queue_asks_for_no_place_and_holds_none():
    queue = Queue()
    decision = queue.world.settle()
    assert questions.Slot not in map(type, queue.world.asked)
    assert not decision.active
    assert queue.world.condition("Ready") == ("Unknown", "Queued")
    assert queue.world.condition("Reconciling") == ("True", "Queued")
    assert "LocalQueue builds" in queue.world.message()
    assert "describe workloads" in queue.world.message()


def test_from_its_first_moment_it_holds_no_place():
    body = ib.build()
    body["metadata"]["labels"] = {QUEUE: "builds"}
    decision = World(body=body).step()
    assert decision.start
    assert not decision.active


def test_what_kueue_says_is_told_and_kept_when_its_event_is_gone():
    queue = Queue()
    queue.world.answers[questions.Workloads] = [
        queue.event("older", at=NOW - 60),
        queue.event("couldn't assign flavors to pod set main: insufficient unused quota for cpu"),
        queue.event("of another", name="job-sib-other-1-0a1b2", at=NOW + 5),
        queue.event("a longer name", name=f"job-{queue.job['metadata']['name']}-x-0a1b2", at=NOW + 5),
    ]
    queue.world.settle()
    assert "insufficient unused quota for cpu" in queue.world.message()
    queue.world.answers[questions.Workloads] = []
    queue.world.settle()
    assert "insufficient unused quota for cpu" in queue.world.message()


def test_what_kueue_says_is_looked_for_soon_while_it_has_said_nothing_and_then_seldom():
    queue = Queue()
    assert queue.world.settle().look_again == 5.0  # its event is a moment away
    queue.world.answers[questions.Workloads] = [queue.event("insufficient unused quota for cpu")]
    assert queue.world.settle().look_again == 60.0
    queue.world.answers[questions.Workloads] = []
    queue.world.now += 600.0
    assert queue.world.settle().look_again == 60.0
    queue.set(suspended=False)
    queue.set(suspended=True)  # taken back
    assert queue.world.settle().look_again == 5.0


@pytest.mark.parametrize(
    ("reason", "note"), [("Admitted", "Admitted by ClusterQueue team"), ("QuotaReserved", "Quota reserved in it")]
)
def test_that_it_was_let_go_is_not_said_of_what_was_taken_back(reason, note):
    queue = Queue()
    let_go = queue.event(note, at=NOW + 5) | {"reason": reason}
    queue.world.answers[questions.Workloads] = [let_go]
    assert queue.world.settle().look_again == 5.0  # why it was taken back is about to be told
    queue.world.answers[questions.Workloads] = [queue.event("Preempted to accommodate a workload"), let_go]
    queue.world.settle()
    assert "yet: Preempted to accommodate" in queue.world.message()


@pytest.mark.parametrize("order", [1, -1])
def test_of_what_kueue_says_within_a_second_the_newest_is_told(order):
    queue = Queue()
    notes = ["insufficient unused quota for cpu", "The ClusterQueue is stopped"]
    told = [queue.event(note) for note in notes]
    for number, event in enumerate(told):  # as its recorder names them: by the nanosecond
        event["metadata"] = {"name": f"{event['regarding']['name']}.18a{number}4f2c5d6e7f80"}
    queue.world.answers[questions.Workloads] = told[::order]
    queue.world.settle()
    assert notes[1] in queue.world.message()


def test_waiting_for_days_is_neither_lost_nor_stuck_nor_an_attempt():
    queue = Queue()
    for _ in range(5):
        queue.world.now += 86_400
        queue.world.settle()
        assert queue.world.condition("Ready") == ("Unknown", "Queued")
    assert len(queue.world.started) == 1
    assert questions.Events not in map(type, queue.world.asked)
    assert "builds" not in queue.world.status


def test_times_count_from_when_kueue_lets_it_go():
    queue = Queue()
    queue.world.now += 7200
    queue.set(suspended=False)
    decision = queue.world.settle()
    assert decision.active
    assert queue.world.condition("Ready") == ("Unknown", "Building")
    assert questions.Events not in map(type, queue.world.asked)  # no pod after hours would have been looked into
    queue.world.pod(ended(message=result()))
    queue.world.finish()
    queue.world.settle()
    assert queue.world.condition("Ready") == ("True", "Succeeded")
    assert queue.world.status["metrics"]["queueSeconds"] == 7200
    assert queue.world.status["metrics"]["durationSeconds"] == 0


def test_an_eviction_is_waiting_and_no_failure_and_the_same_attempt_goes_on():
    queue = Queue()
    queue.set(suspended=False)
    queue.world.pod(running())
    assert queue.world.settle().active
    queue.world.now += 60
    queue.set(suspended=True)
    (pod,) = queue.world.pods.values()
    pod["metadata"]["deletionTimestamp"] = conditions.rfc3339(queue.world.now)
    for code in (143, contract.ExitCode.PEER_LOST, 1):
        pod["status"]["containerStatuses"] = [ended("build", code), ended("push", code)]
        pod["status"]["phase"] = "Failed"
        assert not queue.world.settle().active
        assert queue.world.condition("Ready") == ("Unknown", "Queued")
    queue.world.now += 60
    queue.set(suspended=False)  # the old pod is still there
    assert queue.world.settle().active
    assert queue.world.condition("Ready") == ("Unknown", "Building")
    queue.world.now += 5
    queue.world.pods["new"] = ib.pod(
        queue.job, now=queue.world.now, name="new", containerStatuses=[ended(message=result())]
    )
    queue.world.finish()
    queue.world.settle()
    assert queue.world.condition("Ready") == ("True", "Succeeded")
    assert (queue.world.current["attempt"], len(queue.world.started)) == (1, 1)
    assert [b["result"] for b in queue.world.status["builds"]] == ["Succeeded"]


def test_a_pod_that_is_there_before_the_condition_counts():
    """The Job controller makes the pod and then says that the Job was resumed: on a slow day seconds later."""
    queue = Queue()
    queue.set(suspended=False)
    queue.world.pod(running())
    queue.world.now += 5
    queue.set(suspended=False)
    queue.world.settle()
    assert "runs on node" in queue.world.message("Building")


def test_an_evicted_pod_is_known_by_when_its_end_was_asked_for():
    queue = Queue()
    queue.set(suspended=False)
    pod = queue.world.pod(running())
    pod["metadata"] |= {"deletionTimestamp": conditions.rfc3339(NOW + 30), "deletionGracePeriodSeconds": 30}
    assert kueue.taken_back(pod, queue.job)
    pod["metadata"]["deletionTimestamp"] = conditions.rfc3339(NOW + 31)
    assert not kueue.taken_back(pod, queue.job)


def test_a_result_that_was_pushed_as_kueue_took_the_job_back_counts():
    queue = Queue()
    queue.set(suspended=False)
    queue.world.pod(ended(message=result()), phase="Succeeded")
    queue.set(suspended=True)
    queue.world.settle()
    assert queue.world.condition("Ready") == ("True", "Succeeded")


def test_somebody_who_suspends_a_job_by_hand_is_told_apart():
    world = World()
    world.settle()
    job = world.jobs[world.current["job"]]
    job["spec"]["suspend"] = True
    assert not world.settle().active
    assert world.condition("Ready") == ("Unknown", "Queued")
    assert "suspended by somebody" in world.message()


@pytest.mark.parametrize("how", ["cancel", "suspend", "spec", "pause"])
def test_a_build_in_kueues_queue_ends_by_order_like_others(how):
    queue = Queue()
    world = queue.world
    world.settle()
    if how == "cancel":
        world.annotate("strata.build/cancel", "1")
    elif how == "suspend":
        world.edit(suspend=True)
    elif how == "spec":
        world.edit(labels={"v": "2"}, concurrency="Queue")
    else:
        world.paused = "all builds of the cluster are paused"
    first = queue.job["metadata"]["name"]
    world.settle()
    assert first not in world.jobs
    expected = {"cancel": 1, "suspend": 1, "spec": 2, "pause": 1}
    assert len(world.started) == expected[how]
    world.paused = ""
    world.settle()
    assert len(world.started) == expected[how] + (how == "pause")


@pytest.mark.parametrize(
    "labels", [{QUEUE: "other"}, {QUEUE: "builds", CLASS: "high"}, {}], ids=["queue", "priority", "none"]
)
def test_what_waits_in_another_queue_than_it_is_to_is_made_anew_and_is_no_failure(labels):
    queue = Queue()
    world = queue.world
    world.settle()
    first = queue.job["metadata"]["name"]
    world.body["metadata"]["labels"] = labels
    world.settle()
    assert first not in world.jobs
    assert queue.job["metadata"].get("labels", {}) == labels
    assert (questions.Slot in map(type, world.asked)) == (not labels)
    assert "builds" not in world.status
    assert world.settle().end_jobs == ()


def test_labels_of_a_job_that_others_have_changed_are_left_alone():
    queue = Queue()
    queue.job["metadata"]["labels"] = {QUEUE: "of-a-policy", CLASS: "low"}
    queue.world.settle()
    assert len(queue.world.started) == 1
    del queue.job["metadata"]["annotations"]["strata.build/queue"]  # of an operator that wrote none
    queue.world.body["metadata"]["labels"] = {QUEUE: "other"}
    queue.world.settle()
    assert len(queue.world.started) == 1


def test_a_build_that_kueue_has_let_go_ends_in_the_queue_that_it_began_in():
    queue = Queue()
    queue.set(suspended=False)
    queue.world.body["metadata"]["labels"] = {QUEUE: "other"}
    queue.world.settle()
    assert len(queue.world.started) == 1
