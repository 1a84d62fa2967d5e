"""Which keys contain which RUNs, what is left to do, and under which key a layer may be kept."""

from __future__ import annotations

import pytest

from strata_builder import dockerfile as df
from strata_builder.context import memory
from strata_builder.engine import keys, planner, records, steps
from strata_builder.engine.options import Options
from strata_builder.oci.image import Descriptor, History, Image, LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.pod import missing, taint

AMD64 = Platform.parse("linux/amd64")


def layer(digit: str) -> LayerRef:
    return LayerRef(
        Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", f"sha256:{digit * 64}", 1), f"sha256:{digit * 64}"
    )


class Images:
    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        image = Image.scratch(platform).append(layer(reference[-1]), History())
        return steps.Base(reference, f"sha256:{reference[-1] * 64}", image)


class NoRemotes:
    def tree(self, url: str, step: steps.Step) -> None:
        raise AssertionError("nothing is fetched here")


def planned(text: str) -> tuple[steps.Plan, keys.Keyed]:
    options = Options(memory.MemoryTree({b"f": b"x"}), AMD64, AMD64)
    plan = planner.make(df.parse(text.encode()), options, Images())
    return plan, keys.of_plan(plan, options, NoRemotes())  # type: ignore[arg-type]


TWO = """\
FROM base1 AS a
COPY f /a
RUN one
FROM base2 AS b
COPY f /b
RUN two
COPY --from=a /a /c
FROM scratch
COPY --from=b /b /
"""


def test_a_key_contains_the_runs_of_all_that_it_stands_on() -> None:
    plan, _ = planned(TWO)
    assert taint.contained(plan) == {
        (0, 0): frozenset(),
        (0, 1): {(0, 1)},
        (1, 0): frozenset(),
        (1, 1): {(1, 1)},
        (1, 2): {(0, 1), (1, 1)},
        (2, 0): {(0, 1), (1, 1)},
    }


def test_a_layer_keeps_its_key_only_if_the_key_has_every_run_before() -> None:
    plan, keyed = planned(TWO)
    kept = taint.keys_to_keep(plan, keyed)
    own = {at for at, key in keyed.steps.items() if kept[key] == key}
    assert own == {(0, 0), (0, 1), (1, 2), (2, 0)}
    assert len(set(kept.values())) == len(kept)


def test_what_was_kept_so_is_found_by_the_same_plan_and_by_no_other() -> None:
    plan, keyed = planned(TWO)
    kept = taint.keys_to_keep(plan, keyed)
    used = {key: records.Record(layer("5")) for key in keyed.steps.values()}
    stored = records.Records(taint.to_keep(used, frozenset(used), kept))
    assert set(keyed.steps.values()) <= set(taint.known(stored, plan, keyed).steps)
    other, other_keyed = planned(TWO.replace("RUN two", "RUN evil"))
    found = taint.known(stored, other, other_keyed).steps
    assert {other_keyed.steps[0, 0], other_keyed.steps[0, 1]} <= found.keys()  # what runs later has no part in it
    first, first_keyed = planned(TWO.replace("RUN one", "RUN evil"))
    assert first_keyed.steps[1, 1] == keyed.steps[1, 1]
    assert first_keyed.steps[1, 1] not in taint.known(stored, first, first_keyed).steps


def test_what_trusted_containers_made_keeps_its_key() -> None:
    used = {"k": records.Record(None)}
    assert taint.to_keep(used, frozenset(), {"k": "other"}) == used


@pytest.mark.parametrize(
    ("hits", "runs", "wanted"),
    [
        ((), ((0, 1), (1, 1)), "12"),
        (((0, 0), (0, 1)), ((1, 1),), "2"),
        (((2, 0),), (), ""),  # the target's only step is known: nothing else matters
        (((0, 0), (0, 1), (1, 0), (1, 1), (1, 2)), (), ""),
        (((1, 0), (1, 1), (1, 2)), (), ""),
    ],
)
def test_what_is_left_to_do(hits: tuple[taint.At, ...], runs: tuple[taint.At, ...], wanted: str) -> None:
    plan, keyed = planned(TWO)
    known = records.Records({keyed.steps[at]: records.Record(None) for at in hits})
    assert missing.missing_runs(plan, keyed, known) == runs
    found = [found.descriptor.digest[7] for found in missing.layers(plan, keyed, known)]
    assert "".join(found) == wanted


def test_layers_of_hits_below_a_missing_step_are_wanted_too() -> None:
    plan, keyed = planned("FROM base1\nRUN one\nRUN two\nCOPY --from=image3 / /\n")
    known = records.Records({keyed.steps[0, 0]: records.Record(layer("7"))})
    assert [found.descriptor.digest[7] for found in missing.layers(plan, keyed, known)] == ["1", "7", "3"]
