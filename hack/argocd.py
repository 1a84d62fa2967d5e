"""The snippet for Argo CD's ConfigMap, made from the Lua files beside it: `python -m hack.argocd`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "docs/gitops/argocd"
SNIPPET: Final = FOLDER / "argocd-cm.yaml"
_HEAD: Final = """\
# Made from the files in strata.build/ by `make manifests`.
# kubectl -n argocd patch configmap argocd-cm --type merge --patch-file argocd-cm.yaml
"""


class _Block(yaml.SafeDumper):
    """Writes text of several lines as a block, in which Lua can be read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Block.add_representer(str, _text)


def main() -> None:
    """Write the snippet."""
    SNIPPET.write_text(snippet())


def snippet() -> str:
    """What argocd-cm.yaml is to be."""
    data = {}
    for folder in sorted((FOLDER / "strata.build").iterdir()):
        data[f"resource.customizations.health.strata.build_{folder.name}"] = (folder / "health.lua").read_text()
        if (folder / "actions").is_dir():
            data[f"resource.customizations.actions.strata.build_{folder.name}"] = _dump(_actions(folder / "actions"))
    return _HEAD + _dump({"data": data})


def _actions(folder: Path) -> dict[str, Any]:
    scripts = sorted(folder.glob("*/action.lua"))
    definitions = [{"name": path.parent.name, "action.lua": path.read_text()} for path in scripts]
    return {"discovery.lua": (folder / "discovery.lua").read_text(), "definitions": definitions}


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Block, sort_keys=False, width=1000)


if __name__ == "__main__":
    main()
