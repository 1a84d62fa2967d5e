"""What a builder loads before it does anything must stay small."""

from __future__ import annotations

import subprocess
import sys

import strata_builder


def test_importing_the_client_loads_neither_http_nor_ssl():
    package = "strata_builder.registry"
    modules = f"{package}.registries, {package}.push, {package}.pull, strata_builder.oci.archive"
    heavy = "{'ssl', 'http.client', 'email', 'subprocess', 'concurrent.futures', 'tarfile'}"
    code = (
        f"import sys; before = set(sys.modules); import {modules}; print(sorted((set(sys.modules) - before) & {heavy}))"
    )
    folder = strata_builder.__path__[0].rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": folder}
    )
    assert done.stdout == "[]\n"
