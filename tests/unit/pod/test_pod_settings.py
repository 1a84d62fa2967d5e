"""Whose login a container of a builder pod uses where."""

from __future__ import annotations

from pathlib import Path

import pytest

from strata_builder import contract
from strata_builder.pod import settings
from strata_builder.pod.paths import Paths
from support import pods

HOST = "registry.example"


def user(tmp_path: Path, given: dict[str, str], repository: str) -> str:
    """Who logs in to `repository`: `given` says for each Secret the user, or a host and the user."""
    paths = Paths(tmp_path)
    for name, text in given.items():
        host, _, who = text.rpartition(" ")
        folder = paths.at(contract.PUSH_CREDENTIALS if name == "push" else f"{contract.PULL_CREDENTIALS}/{name}")
        folder.mkdir(parents=True)
        (folder / ".dockerconfigjson").write_text(pods.docker_config(host or HOST, who, "secret"))
    with settings.registries(pods.request(HOST), paths) as found:
        login = found.settings.credentials.lookup(HOST, repository)
    return login.username if login else ""


@pytest.mark.parametrize("key", [HOST, f"{HOST}/team", f"{HOST}/team/web"])
@pytest.mark.parametrize("name", ["a-hub", "z-hub"])
def test_nothing_but_the_registrys_own_login_pushes(tmp_path: Path, name: str, key: str) -> None:
    given = {"push": "pusher", contract.OWN_LOGIN: "puller", name: f"{key} ada"}
    assert user(tmp_path, given, "team/web") == "pusher"


@pytest.mark.parametrize("name", ["a-hub", "z-hub"])
def test_the_cache_is_read_by_the_registrys_own_login(tmp_path: Path, name: str) -> None:
    assert user(tmp_path, {contract.OWN_LOGIN: "puller", name: "ada"}, "team/web") == "puller"


@pytest.mark.parametrize("name", ["a-hub", "z-hub"])
def test_a_base_is_read_by_the_login_that_the_spec_names(tmp_path: Path, name: str) -> None:
    given = {"push": "pusher", contract.OWN_LOGIN: "puller", name: "ada"}
    assert user(tmp_path, given, "others/base") == "ada"


def test_without_one_in_the_spec_a_base_is_read_by_the_registrys_own_login(tmp_path: Path) -> None:
    given = {"push": "pusher", contract.OWN_LOGIN: "puller", "a-hub": "hub.example ada"}
    assert user(tmp_path, given, "others/base") == "puller"
