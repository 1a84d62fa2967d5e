"""The round trip: a commit is applied, becomes an image, its digest a commit, and that a Pod. By docs/gitops as they are."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support import e2e, git_server, gitops

FILES = {str(path.relative_to(gitops.EXAMPLE)): path.read_text() for path in gitops.EXAMPLE.rglob("*.yaml")}


@pytest.fixture
def source(tmp_path: Path) -> Iterator[gitops.Source]:
    with gitops.source(tmp_path) as made:
        yield made


def applied(home: e2e.Namespace, source: gitops.Source, folder: str) -> None:
    command = gitops.engine(home.k.where.kubeconfig, source.url, home, "--wait=150s", "--server-side", folder=folder)
    done = gitops.applied(command)
    assert done.trouble == "", f"{done.trouble}\n{home.report('web')}"


def answer(home: e2e.Namespace) -> str:
    """What the newest Pod of the Deployment serves."""
    image = home.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"]
    pods = [p for p in home.all("pods", "app=web") if p["spec"]["containers"][0]["image"] == image]
    return home.answer(pods[0]["metadata"]["name"]).strip()


def written(source: gitops.Source) -> str:
    """The component as it is in git now."""
    return git_server.git("show", "main:app/images/kustomization.yaml", cwd=source.repository.bare)


def test_from_a_commit_to_a_pod_and_from_the_next_commit_to_the_next_pod(home, source):
    source.repository.commit(FILES, "Begin")
    applied(home, source, "images")
    first = home.status("web")
    assert re.fullmatch(r"[0-9a-f]+ Deploy web", gitops.write_back(home, source, "web"))
    assert [one["digest"] for one in yaml.safe_load(written(source))["images"]] == [first["digest"]]
    applied(home, source, "app")
    running = home.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert running == first["image"]
    assert answer(home) == "Hello from the first commit."
    assert "already" in gitops.write_back(home, source, "web")

    git_server.git("pull", "--quiet", "--rebase", str(source.repository.bare), "main", cwd=source.repository.folder)
    page = FILES["images/build.yaml"].replace("the first commit", "the second commit")
    source.repository.commit({"images/build.yaml": page}, "Say something new")
    applied(home, source, "images")
    second = home.status("web")
    assert second["digest"] != first["digest"]
    gitops.write_back(home, source, "web")
    applied(home, source, "app")
    home.until("the new Pod alone", lambda: len(home.all("pods", "app=web")) == 1)
    assert answer(home) == "Hello from the second commit."

    applied(home, source, "images")
    assert home.status("web")["current"]["number"] == second["current"]["number"] == 2
