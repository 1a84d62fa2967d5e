"""The copy of the builder for containers whose root the steps own."""

from __future__ import annotations

import os
from pathlib import Path

from strata_builder.pod import install


def test_the_copy_has_the_same_modes_links_and_empty_folders(tmp_path: Path) -> None:
    home, target = tmp_path / "home", tmp_path / "target"
    (home / "bin").mkdir(parents=True)
    (home / "bin/python").write_bytes(b"program")
    (home / "bin/python").chmod(0o755)
    (home / "bin/python3").symlink_to("python")
    (home / "gone").symlink_to("/nowhere")
    (home / "alive/build").mkdir(parents=True)
    (home / "alive").chmod(0o711)
    target.mkdir(mode=0o777)
    before = target.stat().st_mode
    install.run(home, target)
    assert (target / "bin/python").read_bytes() == b"program"
    assert (target / "bin/python").stat().st_mode & 0o7777 == 0o755
    assert os.readlink(target / "bin/python3") == "python"
    assert os.readlink(target / "gone") == "/nowhere"
    assert (target / "alive/build").is_dir()
    assert (target / "alive").stat().st_mode & 0o7777 == 0o711
    assert target.stat().st_mode == before  # an emptyDir is root's: nobody else may change its mode
