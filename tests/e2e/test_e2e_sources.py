"""Where a build's files come from: ConfigMaps, archives, git over HTTPS and ssh, and a branch that moves."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from support import e2e, file_server, git_server

DOCKERFILE = 'FROM busybox:1.36\nCOPY said /said\nUSER 65532\nCMD ["cat", "/said"]\n'
FILES = {"Dockerfile": DOCKERFILE, "said": "from git\n"}


@pytest.fixture(scope="module")
def folder():
    """A place where sshd finds its keys: only root may write there."""
    with tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def repository(folder) -> git_server.Repository:
    made = git_server.Repository.make(folder / "repositories")
    made.commit(FILES)
    return made


def test_files_come_from_a_config_map(home):
    home.apply(e2e.config_map("files", {"said": "from a ConfigMap\n"}))
    status = home.build(e2e.image_build("configmap", DOCKERFILE, source={"configMap": {"name": "files"}}))
    assert home.run(status["image"], "configmap") == "from a ConfigMap\n"


def test_a_changed_config_map_is_a_new_build(home):
    home.apply(e2e.config_map("changing", {"said": "one\n"}))
    first = home.build(e2e.image_build("changing", DOCKERFILE, source={"configMap": {"name": "changing"}}))
    home.apply(e2e.config_map("changing", {"said": "two\n"}))
    home.until(
        "a second build", lambda: home.status("changing")["digest"] != first["digest"], seconds=120, name="changing"
    )
    assert home.status("changing")["builds"][0]["reason"] == "InputsChanged"
    assert home.run(home.status("changing")["image"], "changing") == "two\n"


def test_files_come_from_an_archive(home, here):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, text in {"app/said": "from an archive\n"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    with file_server.FileServer({"/app.tar.gz": file_server.Answer(made.getvalue())}, host=here) as server:
        digest = hashlib.sha256(made.getvalue()).hexdigest()
        source = {"archive": {"url": f"{server.url}/app.tar.gz", "sha256": digest}}
        dockerfile = DOCKERFILE.replace("COPY said", "COPY app/said")
        status = home.build(e2e.image_build("archive", dockerfile, source=source))
    assert home.run(status["image"], "archive") == "from an archive\n"


def test_files_come_from_a_zip_archive(home, here):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app/said", "from a zip\n")
    with file_server.FileServer({"/app.zip": file_server.Answer(made.getvalue())}, host=here) as server:
        source = {"archive": {"url": f"{server.url}/app.zip"}}
        dockerfile = DOCKERFILE.replace("COPY said", "COPY --chmod=644 app/said")
        status = home.build(e2e.image_build("zip", dockerfile, source=source))
    assert home.run(status["image"], "zip") == "from a zip\n"


def test_a_submodule_comes_with_the_login_of_its_source(home, here, folder):
    library, app = (git_server.Repository.make(folder / "nested", name) for name in ("library", "app"))
    commit = library.commit({"said": "from a submodule\n"})
    (app.folder / "lib").mkdir()
    git_server.git("update-index", "--add", "--cacheinfo", f"160000,{commit},lib", cwd=app.folder)
    config = '[submodule "lib"]\n\tpath = lib\n\turl = ../library.git\n'
    app.commit({"Dockerfile": DOCKERFILE.replace("COPY said", "COPY lib/said"), ".gitmodules": config})
    home.apply(e2e.secret("nested", username="ada", password="engine-1"))
    with git_server.HttpServer(folder / "nested", "ada", "engine-1", host=here) as server:
        git = {"url": f"{server.url}/app.git", "secretRef": {"name": "nested"}}
        status = home.build(e2e.image_build("nested", source={"git": git}))
        assert home.run(status["image"], "nested") == "from a submodule\n"
        home.apply(e2e.image_build("without", source={"git": {**git, "submodules": False}}))
        home.wait("without", status="False", seconds=60)


def test_git_over_https_with_a_password_and_an_authority_of_its_own(home, here, folder, repository):
    tls, authority = git_server.server_tls(folder / "tls", here)
    root = repository.bare.parent
    home.apply(e2e.secret("https", username="ada", password="engine-1", ca_crt=authority.decode()))
    with git_server.HttpServer(root, "ada", "engine-1", tls=tls, host=here) as server:
        git = {"url": f"{server.url}/app.git", "revision": "main", "secretRef": {"name": "https"}}
        output = {"registry": {"name": "main"}, "tags": ["{branch}-{shortCommit}"]}
        status = home.build(e2e.image_build("https", source={"git": git}, output=output))
        assert any(header for _, header in server.log)
    commit = git_server.git("rev-parse", "main", cwd=repository.folder)
    assert status["source"]["commit"] == commit
    assert status["tags"] == [f"main-{commit[:12]}"]
    assert home.run(status["image"], "https") == "from git\n"
    assert "engine-1" not in home.logs("https")


def test_git_over_ssh(home, here, folder, repository):
    with git_server.sshd(folder / "ssh", host=here) as server:
        keys = {"identity": server.identity.decode(), "known_hosts": server.known_hosts.decode()}
        home.apply(e2e.secret("ssh", **keys))
        git = {"url": f"{server.url}{repository.bare}", "revision": "main", "secretRef": {"name": "ssh"}}
        status = home.build(e2e.image_build("ssh", source={"git": git}))
    assert home.run(status["image"], "ssh") == "from git\n"


def test_a_wrong_password_says_whose_fault_it_is(home, here, repository):
    home.apply(e2e.secret("wrong", username="ada", password="no"))
    with git_server.HttpServer(repository.bare.parent, "ada", "engine-1", host=here) as server:
        git = {"url": f"{server.url}/app.git", "revision": "main", "secretRef": {"name": "wrong"}}
        home.apply(e2e.image_build("wrong", source={"git": git}))
        home.wait("wrong", status="False", reason="SourceAuthFailed", seconds=60)


def test_a_branch_that_moves_is_built_again(home, here, folder):
    moving = git_server.Repository.make(folder / "moving")
    moving.commit(FILES)
    with git_server.HttpServer(folder / "moving", host=here) as server:
        git = {"url": f"{server.url}/app.git", "revision": "main"}
        body = e2e.image_build("moving", source={"git": git}, triggers={"git": {"pollInterval": "10s"}})
        first = home.build(body)
        commit = moving.commit({"said": "moved\n"})
        home.until("the new commit", lambda: _commit(home, "moving") == commit, seconds=45, name="moving")
    status = home.status("moving")
    assert status["digest"] != first["digest"]
    assert home.run(status["image"], "moving") == "moved\n"


def _commit(home: e2e.Namespace, name: str) -> str:
    status = home.status(name)
    done = status["current"]["phase"] == "Succeeded"
    return str(status["source"]["commit"]) if done else ""
