"""Every way in which a builder pod can end, or not get to start, told from the states of its containers."""

from typing import Any

import pytest

from strata_builder import contract
from strata_operator.imagebuild import beginning, outcome, questions, refusals, verdicts
from support import imagebuilds as ib
from support.imagebuilds import ended, event, result, running, waiting

JOB = ib.job(questions.Job("sib-web-1-1-abc", 1, 1, 1, "sha256:x", "Layers", "team/web"))
FAILED = {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
LONG = contract.Failure("RunFailed", "a" * 3000 + "\x07end")
EVICTED = {
    "phase": "Failed",
    "reason": "Evicted",
    "message": 'Usage of EmptyDir volume "alive" exceeds the limit "64Mi". ',
}
DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]


def judge(
    *statuses: Any, job: Any = JOB, now: float = ib.NOW + 1, events: Any = None, meta: Any = None, **status: Any
) -> Any:
    body = ib.pod(job, containerStatuses=list(statuses), **status)
    body["metadata"] |= meta or {}
    return outcome.judge(job, [body], now, events=events)


def reason_of(verdict: Any) -> str:
    assert isinstance(verdict, contract.Failure | verdicts.Waiting), verdict
    return verdict.reason


# -- ends --


def test_the_end_of_push_with_a_digest_is_the_result():
    assert judge(ended(message=result()), phase="Succeeded") == result()


def test_three_containers_are_over_only_when_all_are():
    three = [ended("fetch"), running("build"), ended("push", message=result())]
    assert isinstance(judge(*three), verdicts.Running)
    three[1] = ended("build")
    assert judge(*three) == result()


def test_a_sidecar_that_goes_on_does_not_hold_up_the_result():
    statuses = [ended("fetch"), ended("build"), ended("push", message=result()), running("istio-proxy")]
    assert judge(*statuses) == result()


def test_a_sidecar_that_fails_is_not_ours():
    statuses = [ended("fetch"), ended("build"), ended("push", message=result()), ended("istio-proxy", 1)]
    assert judge(*statuses, phase="Failed") == result()


def test_a_result_survives_the_deadline_that_a_sidecar_ran_into():
    statuses = [ended("fetch"), ended("build"), ended("push", message=result())]
    assert judge(*statuses, phase="Failed", reason="DeadlineExceeded") == result()


@pytest.mark.parametrize(
    "reason", ["ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff", "CreateContainerConfigError"]
)
def test_an_injected_init_container_that_holds_up_the_pod_is_told_with_its_words(reason):
    """That of a service mesh: ours begin after it."""
    held_up = waiting("istio-init", reason, 'pull "mesh/init:1": \x1bnot found')
    ours = [waiting(name, "PodInitializing") for name in ("fetch", "build", "push")]
    verdict = judge(*ours, initContainerStatuses=[held_up], events=[])
    assert verdict == verdicts.Running(
        f'the pod waits for init container istio-init, which is not of Strata: {reason}: pull "mesh/init:1": not found'
    )


@pytest.mark.parametrize("reason", ["PodInitializing", "ContainerCreating", ""])
def test_an_injected_init_container_that_takes_its_turn_is_not_told_of(reason):
    verdict = judge(
        waiting("push", "PodInitializing"), initContainerStatuses=[waiting("istio-init", reason)], events=[]
    )
    assert isinstance(verdict, verdicts.Running)
    assert "is starting" in verdict.message


@pytest.mark.parametrize(
    ("said", "words"), [("", "ended with code 2"), ("iptables: \x1bdenied", "ended with code 2: iptables: denied")]
)
def test_a_pod_that_an_injected_init_container_has_failed_is_infrastructure(said, words):
    """Its status has no reason, and ours wait in it for ever."""
    ours = [waiting(name, "PodInitializing") for name in ("fetch", "build", "push")]
    for init in ([], [ended("install")]):
        inits = [*init, ended("istio-init", 2, said)]
        verdict = judge(*ours, initContainerStatuses=inits, phase="Failed", now=ib.NOW + 90, events=[])
        assert reason_of(verdict) == "InfrastructureFailed"
        assert verdict.retryable
        assert f"init container istio-init, which is not of Strata, {words}" in verdict.message


def test_an_injected_init_container_that_fails_beside_a_running_build_is_nobodys_concern():
    failing = waiting("istio-proxy", "CrashLoopBackOff", "back-off 5m0s")
    verdict = judge(*map(running, ("fetch", "build", "push")), initContainerStatuses=[failing], events=[])
    assert isinstance(verdict, verdicts.Running)
    assert verdict.started


@pytest.mark.parametrize("said", ["", "{}", "not json", '{"v":1}', '{"v":1,"platforms":[]}', '{"v":9,"platforms":[]}'])
def test_push_that_names_no_digest_is_no_success(said):
    assert reason_of(judge(ended(message=said), phase="Succeeded")) == "InfrastructureFailed"


@pytest.mark.parametrize(("size", "told"), [(1535, False), (1536, True)])
def test_a_result_that_the_kubelet_has_cut_is_told_as_that(size, told):
    spec_ = {"containers": [{"name": "a"}] * 5, "initContainers": [{"name": "b"}] * 3}
    pod = ib.pod(JOB, phase="Succeeded", containerStatuses=[ended(message='{"v":1,'.ljust(size, " "))]) | {
        "spec": spec_
    }
    verdict = outcome.judge(JOB, [pod], ib.NOW)
    assert reason_of(verdict) == "InfrastructureFailed"
    assert ("1536 bytes of it, for the pod has 8 containers" in verdict.message) is told


def test_only_push_may_name_a_digest():
    statuses = [ended("fetch"), ended("build", message=result()), ended("push", message="")]
    assert reason_of(judge(*statuses)) == "InfrastructureFailed"


def test_the_first_failure_counts_and_not_those_that_lost_their_peer():
    statuses = [
        ended("fetch", 12, at=ib.NOW),
        ended("build", 11, contract.Failure("RunFailed", "exit 3"), at=ib.NOW + 2),
        ended("push", 12, at=ib.NOW),
    ]
    assert judge(*statuses, phase="Failed").message == "exit 3"


def test_the_earlier_of_two_causes_counts():
    statuses = [
        ended("fetch", 1, contract.Failure("SourceNotFound", "no such repository"), at=ib.NOW),
        ended("push", 1, contract.Failure("PushDenied", "no"), at=ib.NOW + 5),
    ]
    assert reason_of(judge(*statuses)) == "SourceNotFound"


def test_containers_that_only_lost_each_other_are_infrastructure():
    statuses = [ended("fetch", 12), ended("build", 12), ended("push", 12)]
    assert reason_of(judge(*statuses, phase="Failed")) == "InfrastructureFailed"


@pytest.mark.parametrize(
    ("code", "reason"),
    [(11, "RunFailed"), (13, "DeadlineExceeded"), (20, "InfrastructureFailed"), (1, "InfrastructureFailed")],
)
def test_a_container_without_a_message_is_told_by_its_code(code, reason):
    verdict = judge(ended("push", code, "Traceback\x1b[31m: boom"), phase="Failed")
    assert reason_of(verdict) == reason
    assert "boom" in verdict.message
    assert "\x1b" not in verdict.message


INTERRUPTED = contract.Failure("InfrastructureFailed", "the builder was told to end", retryable=True)


@pytest.mark.parametrize("code", [contract.ExitCode.INTERRUPTED, 137, 143])
@pytest.mark.parametrize("phase", ["Running", "Failed"])
def test_containers_that_end_because_their_pod_was_deleted_have_not_failed(code, phase):
    """Their end may be seen before the pod is gone, and one of them after another."""
    meta = {"deletionTimestamp": "2027-01-15T08:00:00Z"}
    statuses = [ended("fetch", code, INTERRUPTED), ended("build", code, INTERRUPTED), running("push")]
    assert isinstance(judge(*statuses, meta=meta, now=ib.NOW + 1, phase=phase), verdicts.Running)
    assert isinstance(judge(*statuses, meta=meta, now=ib.NOW + 600, phase=phase), verdicts.Lost)


def test_a_step_that_failed_before_its_pod_was_deleted_has_failed():
    meta = {"deletionTimestamp": "2027-01-15T08:00:00Z"}
    failed = ended("build", 11, contract.Failure("RunFailed", "exit 3"), at=ib.NOW)
    statuses = [ended("fetch", 130, INTERRUPTED, at=ib.NOW + 1), failed, ended("push", 12, at=ib.NOW + 1)]
    assert judge(*statuses, meta=meta, phase="Failed").message == "exit 3"


def test_containers_that_somebody_told_to_end_are_infrastructure():
    """As a node does that shuts down; nobody says so of the pod."""
    code = contract.ExitCode.INTERRUPTED
    statuses = [ended(name, code, INTERRUPTED) for name in ("fetch", "build", "push")]
    verdict = judge(*statuses, phase="Failed")
    assert (verdict.reason, verdict.retryable) == ("InfrastructureFailed", True)


@pytest.mark.parametrize("container", ["fetch", "build", "push"])
@pytest.mark.parametrize("reason", ["Cancelled", "Superseded", "Suspended"])
def test_no_container_ends_a_build_by_order(container, reason):
    assert reason_of(judge(ended(container, 1, contract.Failure(reason, "x")))) == "InfrastructureFailed"


@pytest.mark.parametrize("reason", ["AccessNotGranted", "Succeeded", "Queued", "BaseImageNotFound", "hm"])
def test_the_container_of_user_code_cannot_choose_any_reason(reason):
    verdict = judge(ended("fetch"), ended("build", 1, contract.Failure(reason, "x")), ended("push", 12))
    assert reason_of(verdict) == "RunFailed"


def test_what_the_container_of_user_code_says_is_clamped():
    verdict = judge(
        ended("fetch"), ended("build", 11, contract.Failure("RunFailed", "a" * 3000 + "\x07end")), ended("push", 12)
    )
    assert len(verdict.message) < 1600
    assert verdict.message.endswith("end")


def test_the_code_of_a_layers_pod_that_found_a_run_calls_for_another_pod():
    assert isinstance(judge(ended("push", 10), phase="Failed"), verdicts.NeedsSandbox)


def test_that_code_means_nothing_from_a_pod_that_can_run_steps():
    verdict = judge(ended("fetch", 10), ended("build", 12), ended("push", 12))
    assert reason_of(verdict) == "InfrastructureFailed"


def test_out_of_memory_names_the_limit_and_the_field():
    verdict = judge(ended("push", 137, reason="OOMKilled"), phase="Failed")
    assert reason_of(verdict) == "OutOfMemory"
    assert "1Gi" in verdict.message
    assert "spec.pod.resources.limits.memory" in verdict.hint


def test_out_of_memory_of_a_step_alone_is_out_of_memory_too():
    statuses = [ended("fetch"), ended("build", 3, reason="OOMKilled"), ended("push", 12)]
    assert reason_of(judge(*statuses)) == "OutOfMemory"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('Usage of EmptyDir volume "s" exceeds the limit "20Mi". ', "StorageLimitExceeded"),
        ("Pod ephemeral local storage usage exceeds the total limit of containers 20Mi. ", "StorageLimitExceeded"),
        ('Container build exceeded its local ephemeral storage limit "64Mi". ', "StorageLimitExceeded"),
        ("The node was low on resource: memory.", "InfrastructureFailed"),
    ],
)
def test_an_eviction_is_told_by_whose_limit_it_was(message, reason):
    assert reason_of(judge(phase="Failed", reason="Evicted", message=message)) == reason
    killed = judge(ended("push", 137), phase="Failed", reason="Evicted", message=message)
    assert reason_of(killed) == reason


@pytest.mark.parametrize(
    ("reason", "message", "told"),
    [
        ("Evicted", 'Container build exceeded its local ephemeral storage limit "64Mi". ', "StorageLimitExceeded"),
        ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline", "DeadlineExceeded"),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", "InfrastructureFailed"),
    ],
)
@pytest.mark.parametrize("spoken", [True, False])
def test_what_ends_the_whole_pod_leaves_the_last_lines_of_its_step(reason, message, told, spoken):
    lines = "[1/2] RUN make\n[1/2]   0.31 writing"
    failure = contract.Failure("InfrastructureFailed", "the builder was told to end", retryable=True, log=lines)
    step = (
        ended("build", contract.ExitCode.INTERRUPTED, message=failure) if spoken else ended("build", 137, message=lines)
    )
    statuses = [ended("fetch", 137, message="of fetch"), step, ended("push", 137, message="of push")]
    found = judge(*statuses, phase="Failed", reason=reason, message=message)
    assert (found.reason, found.log) == (told, lines)


@pytest.mark.parametrize("code", [contract.ExitCode.INTERRUPTED, 137, 143])
def test_a_pod_whose_containers_are_killed_one_after_another_is_judged_by_what_it_says_at_its_end(code):
    """The kubelet tells why when none of them runs any more; whatever it tells meanwhile, one has ended before another."""
    statuses = [ended("fetch", 12), ended("build", code, INTERRUPTED, at=ib.NOW), running("push")]
    for others in (running("push"), ended("push", code, INTERRUPTED, at=ib.NOW + 1)):
        statuses[-1] = others
        verdict = judge(*statuses, now=ib.NOW + 2)
        assert isinstance(verdict, verdicts.Running)
        assert verdict.started
    message = 'Usage of EmptyDir volume "s" exceeds the limit "20Mi". '
    over = judge(*statuses, now=ib.NOW + 3, phase="Failed", reason="Evicted", message=message)
    assert reason_of(over) == "StorageLimitExceeded"
    assert reason_of(judge(*statuses, now=ib.NOW + 3, phase="Failed")) == "InfrastructureFailed"
    statuses[-1] = ended("push", 12, at=ib.NOW + 1)
    sidecar = running("proxy")  # one that goes on keeps the pod from its end
    assert reason_of(judge(*statuses, sidecar, now=ib.NOW + 60)) == "InfrastructureFailed"


@pytest.mark.parametrize(
    ("last", "of_pod", "told"),
    [
        (ended("build", 137, at=ib.NOW), EVICTED, "StorageLimitExceeded"),
        (running("build"), EVICTED, "StorageLimitExceeded"),
        (ended("build", 137, at=ib.NOW, reason="OOMKilled"), {}, "OutOfMemory"),
        (ended("build", 1, contract.Failure("RunFailed", "no such file"), at=ib.NOW), {}, "RunFailed"),
        (ended("build", 12, at=ib.NOW), {"phase": "Failed"}, "InfrastructureFailed"),
    ],
)
def test_who_only_lost_the_others_is_waited_with_for_what_they_say(last, of_pod, told):
    """The kubelet may tell of those that noticed an end before it tells of the end."""
    statuses = [ended("fetch", 12, at=ib.NOW), running("build"), ended("push", 12, at=ib.NOW)]
    verdict = judge(*statuses, now=ib.NOW + 2)
    assert isinstance(verdict, verdicts.Running)
    assert verdict.started
    statuses[1] = last
    assert reason_of(judge(*statuses, now=ib.NOW + 3, **of_pod)) == told


def test_who_only_lost_the_others_is_not_waited_with_for_ever():
    statuses = [ended("fetch", 12, at=ib.NOW), running("build"), ended("push", 12, at=ib.NOW)]
    verdict = judge(*statuses, now=ib.NOW + 31)
    assert reason_of(verdict) == "InfrastructureFailed"
    assert "lost the others" in verdict.message


def test_a_killed_container_is_not_waited_for_by_a_clock_that_is_far_ahead():
    """Its end is of the node's clock; a sidecar that goes on keeps the pod from telling more."""
    statuses = [ended("fetch", 12), ended("build", 137, at=ib.NOW + 3600), ended("push", 12), running("proxy")]
    assert reason_of(judge(*statuses, now=ib.NOW)) == "InfrastructureFailed"


def test_the_pods_deadline_is_the_builds():
    assert reason_of(judge(ended("push", 143), phase="Failed", reason="DeadlineExceeded")) == "DeadlineExceeded"


@pytest.mark.parametrize("status", [waiting(), ended("push", 137, reason="ContainerStatusUnknown")])
def test_a_pod_that_never_ran_before_its_deadline_is_infrastructure(status):
    verdict = judge(status, phase="Failed", reason="DeadlineExceeded")
    assert reason_of(verdict) == "InfrastructureFailed"


@pytest.mark.parametrize("reason", ["OutOfcpu", "NodeAffinity", "UnexpectedAdmissionError", "NodeShutdown"])
def test_what_the_node_does_is_infrastructure(reason):
    verdict = judge(phase="Failed", reason=reason, message="no")
    assert reason_of(verdict) == "InfrastructureFailed"
    assert reason in verdict.message


@pytest.mark.parametrize("status", [{"phase": "Unknown"}, {"phase": "Running", "reason": "NodeLost"}])
def test_a_lost_node_is_infrastructure(status):
    assert reason_of(judge(running(), **status)) == "InfrastructureFailed"


TAINTED = [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]


def test_a_pod_that_a_taint_drives_away_has_its_grace_as_its_node_may_live():
    """Any taint NoExecute does, also one by which an administrator empties a node."""
    assert isinstance(judge(running(), conditions=TAINTED), verdicts.Running)
    meta = {"deletionTimestamp": "2027-01-15T08:00:15Z"}
    for status in (running(), ended("push", 143)):
        assert isinstance(judge(status, conditions=TAINTED, meta=meta), verdicts.Running)
    assert "replacement" in judge(ended("push", 143), conditions=TAINTED, meta=meta, phase="Failed").message


def test_a_node_that_does_not_end_what_a_taint_drives_away_is_lost():
    meta = {"deletionTimestamp": "2027-01-15T08:00:15Z"}
    verdict = judge(running(), conditions=TAINTED, meta=meta, now=ib.NOW + 76)
    assert verdict == verdicts.Lost("node node was lost")


# -- pods that go --


def test_a_disrupted_pod_is_replaced_by_its_job_and_is_no_attempt():
    assert isinstance(judge(ended("push", 137), phase="Failed", conditions=DISRUPTED), verdicts.Running)


def test_a_disrupted_pod_of_a_job_that_gave_up_is_lost():
    verdict = judge(ended("push", 137), job=JOB | FAILED, phase="Failed", conditions=DISRUPTED)
    assert isinstance(verdict, verdicts.Lost)


def test_a_pod_that_nodes_evict_again_and_again_is_not_replaced_for_ever():
    """It may be what they run out of, for no limit of its own is below what they have; its Job would make another one."""
    message = "The node was low on resource: ephemeral-storage. Container build was using 30Gi, request is 512Mi"
    pods = [
        ib.pod(JOB, name=f"x{number}", now=ib.NOW + number, phase="Failed", reason="Evicted", message=message)
        for number in range(3)
    ]
    for pod in pods:
        pod["status"]["conditions"] = DISRUPTED
    assert isinstance(outcome.judge(JOB, pods[:2], ib.NOW + 9), verdicts.Running)
    verdict = outcome.judge(JOB, pods, ib.NOW + 9)
    assert reason_of(verdict) == "InfrastructureFailed"
    assert verdict.message == f"3 pods were evicted one after another, the last one as {message}"
    newest = ib.pod(JOB, name="new", now=ib.NOW + 9, containerStatuses=[running()])
    assert isinstance(outcome.judge(JOB, [*pods, newest], ib.NOW + 20), verdicts.Running)
    for pod in pods:
        pod["status"]["reason"] = "Preempting"
    assert isinstance(outcome.judge(JOB, pods, ib.NOW + 9), verdicts.Running)


def test_the_replacement_is_what_counts():
    old = ib.pod(JOB, name="old", phase="Failed", conditions=DISRUPTED, containerStatuses=[ended("push", 137)])
    new = ib.pod(JOB, name="new", now=ib.NOW + 9, containerStatuses=[ended(message=result())], phase="Succeeded")
    assert outcome.judge(JOB, [old, new], ib.NOW + 20) == result()


def test_a_deleted_pod_has_its_grace_and_is_then_lost():
    meta = {"deletionTimestamp": "2027-01-15T08:00:00Z"}
    assert isinstance(judge(running(), meta=meta), verdicts.Running)
    assert isinstance(judge(running(), meta=meta, now=ib.NOW + 61), verdicts.Lost)


@pytest.mark.parametrize("ahead", [-86_400, 86_400])
def test_a_pod_that_runs_is_given_up_by_no_clock(ahead):
    """The node's may be another one than ours, and ours may be set while it runs."""
    pod = ib.pod(JOB, containerStatuses=[running()])
    pod["spec"]["activeDeadlineSeconds"] = 3660
    assert isinstance(outcome.judge(JOB, [pod], ib.NOW + ahead), verdicts.Running)


def test_a_deleted_pod_that_had_ended_well_is_a_result():
    meta = {"deletionTimestamp": "2027-01-15T08:00:00Z"}
    assert judge(ended(message=result()), meta=meta) == result()


def test_a_job_whose_pod_is_gone_is_lost():
    gone = JOB | {"status": {"failed": 1}}
    assert isinstance(outcome.judge(gone, [], ib.NOW + 9), verdicts.Lost)


# -- pods that do not start --


def test_a_job_without_a_pod_is_waited_for_then_its_events_are_read():
    assert isinstance(outcome.judge(JOB, [], ib.NOW + 1), verdicts.Running)
    assert outcome.judge(JOB, [], ib.NOW + 9) == verdicts.AskEvents(JOB)
    assert isinstance(outcome.judge(JOB, [], ib.NOW + 9, events=[]), verdicts.Running)


@pytest.mark.parametrize(
    ("note", "reason", "words"),
    [
        (
            'Error creating: pods "x" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities',
            "PodRejected",
            "pod-security.kubernetes.io/enforce=baseline",
        ),
        (
            'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1',
            "QuotaExceeded",
            "exceeded quota: q",
        ),
        ("forbidden: failed quota: q: must specify limits.memory for: build", "QuotaExceeded", "limits.memory"),
        (
            'pods "x" is forbidden: error looking up service account team/b: serviceaccount "b" not found',
            "ReferenceNotFound",
            "ServiceAccount b",
        ),
    ],
)
def test_a_refused_pod_is_told_by_the_jobs_events(note, reason, words):
    verdict = outcome.judge(JOB, [], ib.NOW + 9, events=[event("FailedCreate", note)])
    assert reason_of(verdict) == reason
    assert words in str(verdict)


@pytest.mark.parametrize(
    "note", ["exceeded quota: q, requested: pods=1", "Internal error occurred: failed calling webhook"]
)
def test_a_pod_that_was_refused_at_first_was_made_all_the_same(note):
    """A drained pod that is gone leaves a Job without one until the next is made."""
    events = [event("FailedCreate", note, ib.NOW + 1), event("SuccessfulCreate", "Created pod: x", ib.NOW + 2)]
    assert isinstance(outcome.judge(JOB, [], ib.NOW + 900, events=events), verdicts.Running)
    events.append(event("FailedCreate", note, ib.NOW + 899))
    assert isinstance(outcome.judge(JOB, [], ib.NOW + 900, events=events), contract.Failure)


def test_an_unknown_refusal_has_a_minute_to_go_away():
    events = [event("FailedCreate", "webhook timed out")]
    assert isinstance(outcome.judge(JOB, [], ib.NOW + 9, events=events), verdicts.Running)
    assert reason_of(outcome.judge(JOB, [], ib.NOW + 61, events=events)) == "InfrastructureFailed"


@pytest.mark.parametrize(
    ("note", "words"),
    [
        (
            'MountVolume.SetUp failed for volume "push-credentials" : secret "strata-push" not found',
            "Secret strata-push",
        ),
        ('SetUp failed for volume "files" : configmap "site" not found', "ConfigMap site"),
        (
            'MountVolume.SetUp failed for volume "secret-sources" : references non-existent secret key: token',
            "no key token",
        ),
    ],
)
def test_a_missing_reference_of_any_container_is_named_after_a_minute(note, words):
    statuses = [waiting("fetch"), waiting("build"), waiting("push")]
    asked = judge(*statuses, phase="Pending", now=ib.NOW + 30)
    assert isinstance(asked, verdicts.AskEvents)
    events = [event("FailedMount", note), event("FailedMount", "Unable to attach: timed out waiting for the condition")]
    early = judge(*statuses, phase="Pending", now=ib.NOW + 30, events=events)
    assert isinstance(early, verdicts.Running)
    assert words in early.message
    late = judge(*statuses, phase="Pending", now=ib.NOW + 61, events=events)
    assert reason_of(late) == "ReferenceNotFound"
    assert words in late.message


def test_a_slow_pull_without_bad_events_is_no_failure():
    verdict = judge(waiting(), phase="Pending", now=ib.NOW + 300, events=[event("Pulling", "image")])
    assert isinstance(verdict, verdicts.Running)


@pytest.mark.parametrize("step", ["Pulling", "Pulled", "Created", "FailedCreatePodSandBox"])
@pytest.mark.parametrize(
    "note", ['MountVolume.SetUp failed for volume "x" : secret "y" not found', "timed out waiting"]
)
def test_a_slow_pull_after_a_mount_that_failed_at_first_is_no_failure(step, note):
    """The kubelet goes on only when all volumes are there."""
    events = [event("FailedMount", note, ib.NOW + 2), event(step, "image", ib.NOW + 4)]
    verdict = judge(waiting(), phase="Pending", now=ib.NOW + 300, events=events)
    assert isinstance(verdict, verdicts.Running)
    events.append(event("FailedMount", note, ib.NOW + 90))  # the node has started anew
    assert reason_of(judge(waiting(), phase="Pending", now=ib.NOW + 300, events=events))


def test_a_pod_whose_sandbox_cannot_be_made_says_why_until_it_can():
    note = "Failed to create pod sandbox: plugin cilium: no \x1bIP left"
    events = [event("FailedCreatePodSandBox", note, ib.NOW + 9)]
    verdict = judge(waiting(), phase="Pending", now=ib.NOW + 300, events=events)
    assert verdict == verdicts.Running("the pod waits: Failed to create pod sandbox: plugin cilium: no IP left")
    events.append(event("Pulling", "image", ib.NOW + 10))
    assert "is starting" in judge(waiting(), phase="Pending", now=ib.NOW + 300, events=events).message


@pytest.mark.parametrize("runtime", ["runtime", 'RuntimeClass handler "kata"'])
def test_a_node_that_refuses_a_user_namespace_is_told_as_that(runtime):
    note = (
        "Failed to create pod sandbox: failed to generate sandbox config for pod: "
        f"can't set `spec.hostUsers: false`, {runtime} does not support user namespaces"
    )
    events = [event("FailedCreatePodSandBox", note)]
    verdict = judge(waiting(), phase="Pending", now=ib.NOW + 11, events=events)
    assert reason_of(verdict) == "PodRejected"
    assert runtime in verdict.message
    assert "spec.isolation" in verdict.hint


@pytest.mark.parametrize(
    "reason",
    ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "SignatureValidationFailed"],
)
def test_the_builders_own_image_is_an_administrators_matter(reason):
    verdict = judge(waiting(reason=reason, message="not found"), phase="Pending", now=ib.NOW + 999)
    assert isinstance(verdict, verdicts.Waiting)
    assert reason_of(verdict) == "BuilderImagePullFailed"


def test_a_pod_that_no_node_takes_waits():
    unscheduled = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]
    verdict = judge(phase="Pending", conditions=unscheduled, now=ib.NOW + 999)
    assert reason_of(verdict) == "Unschedulable"
    assert "0/1 nodes" in verdict.message


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"),
        ("SchedulerError", "etcd is away"),
    ],
)
def test_a_pod_that_is_held_back_from_the_scheduler_says_by_what(reason, message):
    held = [{"type": "PodScheduled", "status": "False", "reason": reason, "message": message}]
    verdict = judge(phase="Pending", conditions=held)
    assert isinstance(verdict, verdicts.Waiting)
    assert reason_of(verdict) == "Unschedulable"
    assert reason in verdict.message
    assert message in verdict.message


def test_a_pod_whose_scheduler_there_is_not_says_so_within_a_minute():
    pod = ib.pod(JOB, phase="Pending")
    pod["spec"] = {"schedulerName": "none\x1b[2J-such"}
    assert isinstance(beginning.stuck(pod, [], ib.NOW + 10, []), verdicts.Running | None)
    verdict = beginning.stuck(pod, [], ib.NOW + 59, [])
    assert isinstance(verdict, verdicts.Waiting)
    assert reason_of(verdict) == "Unschedulable"
    assert "no scheduler has looked at the builder pod" in verdict.message
    assert verdict.message.endswith("none[2J-such")


def test_a_container_that_cannot_be_made_fails_after_a_minute():
    status = waiting(reason="CreateContainerConfigError", message='secret "x" not found')
    assert isinstance(judge(status, phase="Pending"), verdicts.Running)
    assert reason_of(judge(status, phase="Pending", now=ib.NOW + 61)) == "ReferenceNotFound"
    other = waiting(reason="CreateContainerError", message="no runtime")
    assert reason_of(judge(other, phase="Pending", now=ib.NOW + 61)) == "InfrastructureFailed"


def test_a_pod_has_started_when_all_its_containers_run():
    assert judge(running("fetch"), running("build"), running("push")).started
    assert not judge(running("fetch"), waiting("build"), running("push")).started


# -- a builder that cannot be mounted --


def image_pod(*statuses: Any, volume: Any = None, **status: Any) -> Any:
    body = ib.pod(JOB, containerStatuses=list(statuses), **status)
    body["spec"]["volumes"] = [{"name": "builder"} | (volume or {"image": {"reference": "b"}})]
    return body


MOUNT = [
    'MountVolume.SetUp failed for volume "builder" : no such plugin',
    "Unable to attach or mount volumes: unmounted volumes=[builder], unattached volumes=[a]: timed out waiting",
    "Unable to attach or mount volumes: unmounted volumes=[scratch-push builder], unattached volumes=[]: timed out waiting",
]


@pytest.mark.parametrize("note", MOUNT)
def test_an_image_that_cannot_be_mounted_is_told_apart_from_other_volumes(note):
    now, events = ib.NOW + 20, [event("FailedMount", note)]
    statuses = [waiting(name) for name in ("fetch", "build", "push")]
    verdict = outcome.judge(JOB, [image_pod(*statuses)], now, events=events)
    assert isinstance(verdict, verdicts.NoImageVolume)
    copied = image_pod(*statuses, volume={"emptyDir": {}})
    assert not isinstance(outcome.judge(JOB, [copied], now, events=events), verdicts.NoImageVolume)
    other = [event("FailedMount", 'MountVolume.SetUp failed for volume "ca" : secret "x" not found')]
    assert not isinstance(outcome.judge(JOB, [image_pod(*statuses)], now, events=other), verdicts.NoImageVolume)


def test_another_containers_trouble_is_not_the_volumes():
    statuses = [waiting("fetch", "CreateContainerError", "x"), waiting("build"), waiting("push")]
    verdict = outcome.judge(JOB, [image_pod(*statuses)], ib.NOW + 90)
    assert reason_of(verdict) == "InfrastructureFailed"


# -- the init container that copies the builder --


def copying(*init: Any, **status: Any) -> Any:
    rest = [waiting(name, "PodInitializing") for name in ("fetch", "build", "push")]
    return judge(*rest, initContainerStatuses=list(init), **status)


def test_a_copy_that_is_being_made_is_a_start():
    assert isinstance(copying(running("install")), verdicts.Running)
    assert not copying(running("install")).started


def test_a_copy_that_fails_is_the_pods_failure():
    said = contract.Failure("StorageLimitExceeded", "no space left on /installed")
    assert reason_of(copying(ended("install", 1, message=said), phase="Failed")) == "StorageLimitExceeded"
    assert reason_of(copying(ended("install", 137, reason="OOMKilled"), phase="Failed")) == "OutOfMemory"
    assert reason_of(copying(ended("install", 20), phase="Failed")) == "InfrastructureFailed"


def test_an_init_container_whose_image_cannot_be_pulled_is_told():
    assert reason_of(copying(waiting("install", "ImagePullBackOff", "no such image"))) == "BuilderImagePullFailed"


def test_with_the_copy_the_result_is_as_without():
    statuses = [ended("fetch"), ended("build"), ended("push", message=result())]
    assert judge(*statuses, initContainerStatuses=[ended("install")], phase="Succeeded") == result()


def test_an_init_container_of_somebody_else_does_not_count():
    statuses = [ended("fetch"), ended("build"), ended("push", message=result())]
    assert judge(*statuses, initContainerStatuses=[ended("istio-init", 1)], phase="Succeeded") == result()


@pytest.mark.parametrize(
    ("message", "lacks"),
    [
        ('Pod "x" is invalid: spec.volumes[7]: Required value: must specify a volume type', True),
        ("mounting subPath is not allowed in image volume sources", True),
        ("spec.containers[0].resources: Invalid value: must be less than or equal to limit", False),
    ],
)
def test_an_api_server_without_image_volumes_is_known_by_its_words(message, lacks):
    assert refusals.lacks_image_volumes(message) is lacks


@pytest.mark.parametrize(
    "message",
    [
        'admission webhook "validate.kyverno.svc-fail" denied the request: \n\npolicy Job/team/x for resource violation',
        "jobs.batch \"x\" is forbidden: ValidatingAdmissionPolicy 'teams' with binding 'all' denied request: no such team",
    ],
)
def test_what_a_rule_of_the_cluster_refuses_is_looked_at_again(message):
    for failure in (refusals.policy(message), refusals.creation(message)):
        assert failure is not None
        assert failure.reason in contract.HEALS_OUTSIDE
        assert message.partition(" denied")[2] in failure.message


def test_a_pod_that_the_schema_refuses_is_no_rule_of_the_cluster():
    assert (
        refusals.policy('Job.batch "x" is invalid: spec.template.spec.tolerations[0].operator: Invalid value') is None
    )


LIMIT_RANGES = [
    'pods "x" is forbidden: [maximum memory usage per Container is 1Gi, but limit is 2Gi, maximum cpu usage per Pod is 2]',
    'pods "x" is forbidden: minimum cpu usage per Container is 1.  No request is specified',
    'pods "x" is forbidden: maximum memory usage per Pod is 1Gi, but limit is 4294967296',
    'pods "x" is forbidden: memory max limit to request ratio per Container is 2, but provided ratio is 8.000000',
]


@pytest.mark.parametrize("message", LIMIT_RANGES)
def test_what_a_limit_range_refuses_is_told_as_that(message):
    failure = refusals.creation(message)
    assert failure.reason == "PodRejected"
    assert failure.message.startswith("a LimitRange of the namespace refuses the builder pod: ")
    assert message.removeprefix('pods "x" is forbidden: ').strip("[]") in failure.message
    assert "spec.pod.resources" in failure.hint


def test_a_default_limit_of_a_limit_range_is_told_as_that_when_it_comes_after_the_job():
    note = (
        'Error creating: Pod "x" is invalid: [spec.containers[0].resources.requests: Invalid value: "2": '
        "must be less than or equal to cpu limit of 500m]"
    )
    verdict = outcome.judge(JOB, [], ib.NOW + 9, events=[event("FailedCreate", note)])
    assert reason_of(verdict) == "PodRejected"
    assert verdict.message.endswith("cpu limit of 500m")


@pytest.mark.parametrize(
    "said",
    ["insufficient quota to match these scopes: [{PriorityClass In [high]}]", "insufficient quota to consume: pods"],
)
def test_what_no_quota_allows_is_told_as_that(said):
    failure = refusals.creation(f'pods "x" is forbidden: {said}')
    assert failure.reason == "QuotaExceeded"
    assert failure.message.endswith(said)


@pytest.mark.parametrize(
    ("said", "kind", "field"),
    [
        ("no PriorityClass with name high was found", "PriorityClass", "priorityClassName"),
        ('pod rejected: RuntimeClass "high" not found', "RuntimeClass", "runtimeClassName"),
    ],
)
def test_a_class_that_the_cluster_lacks_is_looked_for_again(said, kind, field):
    failure = refusals.creation(f'pods "x" is forbidden: {said}')
    assert failure.reason == "ReferenceNotFound"
    assert failure.message.startswith(f"{kind} high does not exist in this cluster (spec.pod.{field} or the chart's ")
    assert f"kubectl get {kind.lower()} high" in failure.hint
