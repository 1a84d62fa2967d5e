"""The release removed and installed again: what people made stays, nothing of the release does."""

from __future__ import annotations

from support import e2e, helm_chart, release

OF_THE_RELEASE = "clusterroles,clusterrolebindings,deployments,daemonsets,services,serviceaccounts,roles,rolebindings"
IMAGE = "FROM scratch\nLABEL made={}\n"


def test_what_people_made_outlives_the_release_and_goes_on_when_it_is_back(strata, namespaces):
    there = namespaces("restricted", "removed")
    there.apply(e2e.registry(0, managed=e2e.HIDDEN))
    there.wait(e2e.REGISTRY, kind="registry")
    before = there.build(e2e.image_build("before", IMAGE.format("before")))
    with release.removed(strata):
        labelled = ("--selector", "app.kubernetes.io/instance=strata", "--all-namespaces", "-o", "name")
        assert strata("get", OF_THE_RELEASE, *labelled) == ""
        assert strata("get", "pods", "-n", helm_chart.NAMESPACE, "-o", "name") == ""
        assert there.status("before") == before
        there("rollout", "status", "deployment/strata-main", "--timeout=5s")
        there.apply(e2e.image_build("meanwhile", IMAGE.format("meanwhile")))
    there.wait("meanwhile")
    assert there.manifest_digest("before") == before["digest"]
    assert [build["number"] for build in there.status("before")["builds"]] == [1]
