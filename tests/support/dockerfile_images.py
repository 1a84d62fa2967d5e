"""Base images of the differential tests: configs without layers, under the names that the reference gives them."""

from __future__ import annotations

import json
from typing import Any


def _image(config: dict[str, Any], **more: Any) -> str:
    rootfs = {"type": "layers", "diff_ids": []}
    return json.dumps({"os": "linux", "architecture": "amd64", "config": config, "rootfs": rootfs} | more)


TESTBASE = _image(
    {
        "Env": ["PATH=/bin", "A=img", "EMPTY="],
        "Cmd": ["sh"],
        "WorkingDir": "/w",
        "User": "u:g",
        "Labels": {"l": "1"},
        "ExposedPorts": {"1/tcp": {}},
        "Volumes": {"/v": {}},
        "StopSignal": "SIGINT",
        "Shell": ["/bin/ash", "-c"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5000000000, "Retries": 2},
    },
    author="somebody",
)
PLAIN = _image({"Env": ["PATH=/bin"], "Cmd": ["sh"], "Entrypoint": ["/e"]})
ONBUILDER = _image(
    {
        "OnBuild": ["ENV Q=1", "ARG Z=2", "ENV R=$Z", "COPY --from=testbase f /f"],
        "Entrypoint": ["/e"],
        "WorkingDir": "/o",
    }
)
ELSEWHERE = _image({"Env": ["PATH=/bin"]}, architecture="arm64", history=[{"created_by": "a layer"}])
ALL = {
    "docker.io/library/testbase:latest": TESTBASE,
    "docker.io/library/testbase:1": PLAIN,
    "docker.io/library/onbuilder:latest": ONBUILDER,
    "docker.io/library/elsewhere:latest": ELSEWHERE,
}
