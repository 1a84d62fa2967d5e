"""One target under libFuzzer, which keeps the inputs that reach new code: `python -m fuzz.guided NAME [-runs=N ...]`.

Needs atheris (requirements/fuzz.txt). A fault ends the process; its input is written where `-artifact_prefix` says.
"""

from __future__ import annotations

import os
import sys
import traceback
from random import Random

import atheris

with atheris.instrument_imports(include=["strata_builder", "strata_operator", "email"]):
    from fuzz import targets

from fuzz.target import execute


def main() -> None:
    target = targets.named(sys.argv.pop(1))

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        """Half of the changes are those that know the form of the input."""
        rng = Random(seed)
        if rng.random() < 0.5:
            return target.change(rng, data, target.pieces)[:size]
        return bytes(atheris.Mutate(data, size))

    atheris.Setup(sys.argv, lambda data: execute(target, data), custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    try:
        main()
    except Exception:  # noqa: BLE001  atheris never comes to an end after one that was not the target's
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
