"""What a hostile Dockerfile costs the planner: so much for each instruction, or a limit that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.context.memory import MemoryTree
from strata_builder.engine import effort, keys, placing, planner, steps
from strata_builder.engine.options import Options
from strata_builder.entries import Entry, Kind
from support import engine_build, linecount

FILES = MemoryTree({b"f": b"f"})
OPTIONS = Options(FILES, engine_build.AMD64, engine_build.AMD64)


def plan(text: str) -> steps.Plan:
    made = planner.make(df.parse(f"FROM scratch\n{text}\n".encode()), OPTIONS, engine_build.NoImages())
    keys.of_plan(made, OPTIONS, engine_build.NoRemotes())
    return made


LINEAR: dict[str, Callable[[int], str]] = {
    "USER": lambda n: "USER a\n" * n,
    "RUN": lambda n: "RUN x\n" * n,
    "CMD": lambda n: "CMD x\n" * n,
    "COPY": lambda n: "COPY f /\n" * n,
    "sources of COPY": lambda n: f"COPY {'f ' * n} /\n",
    "WORKDIR": lambda n: "WORKDIR /a\n" * n,
    "here-documents": lambda n: "COPY <<E /f\nx\nE\n" * n,
    "cache mounts": lambda n: f"RUN {''.join(f'--mount=type=cache,target=/c{k} ' for k in range(n))} x\n",
    "bind mounts": lambda n: f"RUN {''.join(f'--mount=target=/c{k} ' for k in range(n))} x\n",
    "stages": lambda n: "FROM scratch\nUSER a\n" * n,
    "a chain of stages": lambda n: "FROM scratch AS s0\n" + "".join(f"FROM s{k} AS s{k + 1}\n" for k in range(n)),
}  # fmt: skip


@pytest.mark.parametrize("name", LINEAR)
def test_four_times_the_instructions_take_four_times_the_work(name: str) -> None:
    small, large = (linecount.lines_run(lambda n=n: plan(LINEAR[name](n))) for n in (60, 240))  # type: ignore[misc]
    assert large <= 4.5 * small


def test_a_step_keeps_of_the_config_what_it_is_done_by_and_shares_it() -> None:
    made = plan("ENV " + " ".join(f"v{n}=x" for n in range(50)) + "\nUSER a\nRUN x\nLABEL a=b\nRUN y\nUSER b\nRUN z")
    found = made.stages[0].steps
    assert [step.config.user for step in found] == ["", "a", "a", "a", "a", "b", "b"]
    assert len({id(step.config) for step in found}) == 3
    assert all(step.config.env == () for step in found)
    assert len(made.stages[0].config.env) == 51


def test_the_lines_of_the_file_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = []

    class Counted(str):
        __slots__ = ()

        def split(self, *given: Any, **named: Any) -> list[str]:
            splits.append(given)
            return super().split(*given, **named)

    file = df.parse(b"FROM scratch\n" + b"RUN x\nUSER a\nARG A\n" * 100)
    planner.make(replace(file, source=Counted(file.source)), OPTIONS, engine_build.NoImages())
    assert splits == [("\n",)]


MANY = {
    "variables, one by one": "\n".join(f"ENV v{n}=x" for n in range(100)),
    "variables, again and again": "ENV " + " ".join(f"v{n}=x" for n in range(100)) + "\nENV a=b" * 50,
    "arguments": "ARG " + " ".join(f"v{n}=x" for n in range(100)) + "\nARG a=b" * 60,
    "labels": "\n".join(f"LABEL v{n}=x" for n in range(120)),
    "ports": "EXPOSE 1-1000\n" * 10,
    "volumes": "\n".join(f"VOLUME /v{n}" for n in range(120)),
    "triggers": "ONBUILD RUN x\n" * 120,
    "environments": "ENV " + " ".join(f"v{n}=x" for n in range(100)) + "\nRUN x" * 15,
    "texts": "ENV A=" + "x" * 4000 + "\nLABEL a=$A" * 20,
    "an argument in the history of each RUN": "ARG A=" + "x" * 4000 + "\nRUN x" * 20,
    "here-documents": "ENV A=" + "x" * 400 + "\nCOPY <<E /f\n" + "$A" * 400 + "\nE",
    "stages with the variables of others": "FROM scratch AS s0\nENV " + " ".join(f"v{n}=x" for n in range(100))
    + "".join(f"\nFROM s{n} AS s{n + 1}\nENV a=b" for n in range(50)),
}  # fmt: skip


@pytest.mark.parametrize("name", MANY)
def test_what_grows_with_each_instruction_has_a_limit_that_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(MANY[name])
    monkeypatch.setattr(effort, "MAX", 5000)
    with pytest.raises(errors.DockerfileError, match="up to here are too many") as caught:
        plan(MANY[name])
    assert caught.value.place is not None
    assert caught.value.place.line > 1
    assert "set several in one instruction" in caught.value.hint


def test_more_instructions_than_any_image_has_are_refused_where_they_begin() -> None:
    df.parse(b"FROM scratch\n" + b"USER a\n" * (df.MAX_INSTRUCTIONS - 1))
    for text in (b"FROM scratch\n" + b"USER a\n" * 100_000, b"FROM scratch\n" * 100_000):
        with pytest.raises(errors.DockerfileError, match="more than 5000 instructions, which is the limit") as caught:
            df.parse(text)
        assert caught.value.place is not None
        assert caught.value.place.line == df.MAX_INSTRUCTIONS + 1


def test_a_working_directory_that_grows_with_each_line_ends_where_linux_ends_it() -> None:
    name = "d" * 200
    assert len(plan(f"WORKDIR {name}\n" * 20).stages[0].config.workdir) == 20 * 201
    with pytest.raises(errors.DockerfileError, match="a path of 4221 bytes, more than Linux takes"):
        plan(f"WORKDIR {name}\n" * 21)


@pytest.mark.parametrize("instruction", ["WORKDIR {}", "COPY f {}", "COPY --from=x f {}", "ADD f {}/"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("n" * 256, r"a name of 256 bytes in its path, more than Linux takes \(255\)"),
        ("a/" + "é" * 128, "a name of 256 bytes"),
        ("../[" * 16_000 + "é", r"a path of \d{5} bytes, more than Linux takes \(4095\)"),
        ("n/" * 2048, "a path of 4100 bytes|a path of 4099 bytes"),
    ],
)
def test_a_path_that_linux_does_not_take_is_refused_at_its_instruction(instruction: str, path: str, said: str) -> None:
    with pytest.raises(errors.DockerfileError, match=said) as caught:
        plan("WORKDIR /srv\n" + instruction.format(path) + "\n")
    assert caught.value.place is not None
    assert caught.value.place.line == 3


def test_what_is_copied_far_below_a_long_destination_is_refused() -> None:
    layer = placing.Layer(placing.Nothing(), placing.Manner())
    layer.put(b"d/" * 2040 + b"f", Entry(b"f", Kind.FILE, 0o644))
    with pytest.raises(errors.LayerError, match=r"longer than Linux takes \(4096 bytes\)"):
        layer.put(b"d/" * 2040 + b"f" * 20, Entry(b"f", Kind.FILE, 0o644))


@pytest.mark.parametrize("line", ["ENV A=$A$A", "ARG A=$A$A"])
def test_a_value_that_doubles_with_each_line_ends(line: str) -> None:
    with pytest.raises(errors.DockerfileError, match=r"more than 8 MiB|up to here are too many"):
        plan("ARG A=xxxxxxxxxxxxxxxx\n" + f"{line}\n" * 100)
