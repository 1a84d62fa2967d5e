"""Every manifest that docs/gitops shows is one that the API server, or kustomize, takes as it is."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import git_server, gitops, kubectl

DOCS = kubectl.CHECKOUT / "docs"
Body = dict[str, Any]
#: What its own API server does not know, with the fields that the text relies on.
FOREIGN = {
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"): {"sourceRef", "path", "interval", "prune"},
    ("image.toolkit.fluxcd.io/v1", "ImageRepository"): {"image", "interval"},
    ("image.toolkit.fluxcd.io/v1", "ImagePolicy"): {"imageRepositoryRef", "policy", "digestReflectionPolicy"},
    ("argoproj.io/v1alpha1", "Application"): {"project", "source", "destination"},
}


def shown() -> list[Body]:
    """The objects in the YAML blocks of the page."""
    text = (DOCS / "gitops.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [body for block in blocks for body in yaml.safe_load_all(block)]


def test_what_the_page_shows_are_whole_objects_of_known_kinds():
    assert shown()
    for body in shown():
        fields = FOREIGN[body["apiVersion"], body["kind"]]
        assert fields <= body["spec"].keys(), body
        assert body["metadata"].keys() >= {"name", "namespace"}


def test_links_of_the_page_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", (DOCS / "gitops.md").read_text())
    missing = [link for link in links if "://" not in link and not (DOCS / link).exists()]
    assert links
    assert missing == []


@pytest.mark.parametrize("folder", ["example/images", "example/app", "write-back"])
def test_the_api_server_takes_what_kustomize_makes_of(world, folder):
    home = world.namespace()
    made = home("kustomize", str(DOCS / "gitops" / folder))
    answer = home.k.ask("-n", home.name, "create", "--dry-run=server", "--validate=strict", "-f", "-", text=made)
    assert answer.code == 0, answer.err
    kinds = {body["kind"] for body in yaml.safe_load_all(made)}
    assert kinds & {"ImageBuild", "Deployment", "CronJob"}


def test_the_images_of_the_component_are_put_in(world, source):
    """Its whole life: none yet, written, unchanged."""
    home = world.namespace()
    files = {str(path.relative_to(gitops.EXAMPLE)): path.read_text() for path in gitops.EXAMPLE.rglob("*.yaml")}
    source.repository.commit(files)
    applied = gitops.applied(gitops.engine(world.plane.kubeconfig, source.url, home, folder="images"))
    assert applied.trouble == ""
    gitops.write_back(home, source, "web")
    assert "already" in gitops.write_back(home, source, "web")
    clone = source.repository.bare.parent / "clone"
    subprocess.run(["git", "clone", "--quiet", str(source.repository.bare), str(clone)], check=True)
    (deployment,) = yaml.safe_load_all(home("kustomize", str(clone / "app")))
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == home.status("web")["image"]


def test_nothing_is_written_while_there_is_no_image(world, source):
    home = world.namespace()
    world.node.holds.add("web")
    files = {str(path.relative_to(gitops.EXAMPLE)): path.read_text() for path in gitops.EXAMPLE.rglob("*.yaml")}
    before = source.repository.commit(files)
    home("apply", "-f", str(gitops.EXAMPLE / "images/build.yaml"))
    with pytest.raises(AssertionError, match="has no image yet"):
        gitops.write_back(home, source, "web")
    head = subprocess.run(
        ["git", "rev-parse", "main"], cwd=source.repository.bare, capture_output=True, text=True, check=True
    )
    assert head.stdout.strip() == before
    world.node.holds.discard("web")


@pytest.fixture
def played_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by which every ImageBuild has an image."""
    program = tmp_path / "bin/kubectl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho localhost:5000/team/$5@sha256:abcd\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def write_back(source: gitops.Source, *builds: str) -> subprocess.CompletedProcess[str]:
    where = {"REPOSITORY": str(source.repository.bare), "FOLDER": "app/images", "NAMESPACE": "team"}
    environment = os.environ | git_server.IDENTITY | where
    return subprocess.run([gitops.WRITE_BACK, *builds], env=environment, capture_output=True, text=True, check=False)


def written(source: gitops.Source) -> Body:
    """What the component is now."""
    asked = ["git", "show", "main:app/images/kustomization.yaml"]
    done = subprocess.run(asked, cwd=source.repository.bare, capture_output=True, text=True, check=True)
    found: Body = yaml.safe_load(done.stdout)
    return found


@pytest.mark.usefixtures("played_kubectl")
def test_names_that_yaml_takes_for_something_else_are_written_as_names(source):
    source.repository.commit({"README": "a shop"})
    names = ["web", "123", "1e3", "on", "null", "0x1f", "2026-11-30"]
    assert write_back(source, *names).returncode == 0
    images = written(source)["images"]
    assert [image["name"] for image in images] == names
    assert [image["newName"] for image in images] == [f"localhost:5000/team/{name}" for name in names]


@pytest.mark.usefixtures("played_kubectl")
@pytest.mark.parametrize("none", [[], [""]])
def test_without_a_name_nothing_is_written(source, none):
    source.repository.commit({"app/images/kustomization.yaml": "images: [{name: web, digest: sha256:ab}]\n"})
    done = write_back(source, *none)
    assert (done.returncode != 0, "which ImageBuilds" in done.stderr) == (True, True)
    assert written(source)["images"]
