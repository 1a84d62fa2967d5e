"""What the pages, and the hints of the code, tell people to type and to look at is there: flags, fields, values, names."""

from __future__ import annotations

import json
import re
from typing import Final

import pytest

from strata_builder import contract
from strata_builder.cli import arguments
from strata_operator import metrics, names, settings
from strata_operator.imagebuild import status
from strata_operator.imagebuild.triggers import basewatch, poller, webhook
from strata_operator.registry import external
from strata_operator.registry import spec as registry
from support import helm_chart, pages

CONDITIONS: Final = {status.BUILDING, status.LAST, status.SUSPENDED, status.POLLING, status.WEBHOOK}
CONDITIONS_OF_ALL: Final = {"Ready", "Reconciling", "Stalled"}


def test_patches_of_the_pages_write_fields_that_there_are():
    found = [
        (pages.kind_of(words), words[words.index("-p") + 1]) for _, words in pages.commands("kubectl") if "-p" in words
    ]
    assert len(found) >= 2
    for kind, patch in found:
        missing = [path for path in pages.patched(json.loads(patch)) if pages.within(pages.SCHEMAS[kind], path) is None]
        assert missing == [], patch


def test_what_the_pages_have_kubectl_print_or_wait_for_is_a_field():
    seen = 0
    for page, words in pages.commands("kubectl"):
        asked = [word.partition("jsonpath=")[2] for word in words if "jsonpath=" in word]
        columns = [word.partition("custom-columns=")[2] for word in words if "custom-columns=" in word]
        paths = [path for text in asked for path in pages.json_paths(text)]
        paths += [column.partition(":")[2] for text in columns for column in text.split(",")]
        for path in paths if (kind := pages.kind_of(words)) else ():
            seen += 1
            assert path.startswith(".metadata.") or pages.within(pages.SCHEMAS[kind], path) is not None, (page, path)
    assert seen > 10


def test_conditions_that_are_asked_for_are_ones_that_there_are():
    for page, words in pages.commands("kubectl"):
        text = " ".join(words)
        named = set(re.findall(r"--for=condition=(\w+)", text)) | set(re.findall(r"@\.type==\"?(\w+)", text))
        assert named <= CONDITIONS | CONDITIONS_OF_ALL, (page, text)


def test_the_crd_explains_each_condition():
    for kind, wanted in (("ImageBuild", CONDITIONS | CONDITIONS_OF_ALL), ("Registry", CONDITIONS_OF_ALL)):
        explained = pages.within(pages.SCHEMAS[kind], "status.conditions")["description"]  # type: ignore[index]
        assert [one for one in sorted(wanted) if one not in explained] == []


@pytest.mark.parametrize("flag", ["--set", "--set-file"])
def test_values_that_are_set_are_in_the_chart(flag: str):
    named = [path for _, text in pages.texts() for path in re.findall(rf"{flag} '?([A-Za-z][A-Za-z.]*)=", text)]
    assert named
    assert [path for path in named if not pages.valued(path)] == []


def test_values_that_are_named_are_in_the_chart():
    tops = "|".join(sorted(pages.VALUES))
    for file, text in pages.texts():
        named = re.findall(rf"(?:`|the chart's )((?:{tops})\.[A-Za-z.]*[A-Za-z])\b(?!\()", text)
        assert [path for path in named if not pages.valued(path) and not path.endswith((".py", ".yaml"))] == [], file


def test_helm_is_told_where_the_release_is():
    called = pages.commands("helm")
    assert len(called) >= 3
    for page, words in called:
        assert {"--namespace", helm_chart.NAMESPACE} <= set(words), (page, words)


def test_annotations_and_labels_of_ours_are_ones_that_the_code_knows():
    known = {str(value) for name, value in vars(names).items() if name.startswith(("ANNOTATION_", "LABEL_"))}
    for file, text in pages.texts():
        shown = " ".join(pages.worded(file, text))
        named = set(re.findall(r"\bstrata\.build/([a-z]+(?:-[a-z]+)*)(?![a-z0-9/.])", shown))
        assert {f"strata.build/{name}" for name in named} <= known, file


def test_fields_that_are_named_are_in_a_crd():
    """In pages, messages and the API's own words."""
    fields = re.compile(r"(?<![\w.@/])((?:spec|status)(?:\.[a-z][A-Za-z]*|\[\])+)(?![\w(])")
    for file, text in pages.texts():
        shown = re.findall(r"`[^`\n]*`", text) if file.endswith(".md") else pages.worded(file, text)
        named = {path for part in shown for path in fields.findall(part)} - {"status.py", "spec.affinity"}
        missing = [
            path for path in named if all(pages.within(schema, path) is None for schema in pages.SCHEMAS.values())
        ]
        assert missing == [], file


def test_commands_of_strata_have_flags_that_there_are():
    called = pages.commands("strata")
    assert len(called) > 6
    for _, words in called:
        assert arguments.parse(words)


def test_metrics_that_are_named_are_counted():
    counted = set(re.findall(r"^# TYPE (\w+)", metrics.Metrics().render().decode(), re.MULTILINE))
    for page in pages.PAGES:
        named = set(re.findall(r"`(strata_[a-z_]+)[`{]", page.read_text()))
        assert named - {"strata_builder", "strata_operator"} <= counted, page.name


@pytest.mark.parametrize(("page", "least"), [("rebuilds.md", 9), ("queue.md", 6)])
def test_reasons_that_a_table_begins_with_are_ones_that_a_status_has(page: str, least: int):
    starts = pages.within(pages.SCHEMAS["ImageBuild"], "status.current.reason")["description"]  # type: ignore[index]
    known = contract.REASONS | set(re.findall(r"\b[A-Z][a-z]+[A-Za-z]*\b", starts.partition(":")[2]))
    cells = re.findall(r"^\| (`[A-Z][^|]*)\|", (pages.CHECKOUT / "docs" / page).read_text(), re.MULTILINE)
    named = {word for cell in cells for word in re.findall(r"`([A-Z]\w+)`", cell)}
    assert len(named) >= least
    assert named <= known


def test_commands_that_let_the_operator_read_secrets_name_the_account_that_it_runs_as():
    options = settings.Settings(namespace="elsewhere", service_account="own")
    body = {"metadata": {"name": "main", "namespace": "team"}, "spec": {"external": {"host": "r.example"}}}
    told = [
        poller._may_not_read("team", "login", options),
        basewatch._may_not_read("team", "login", options),
        webhook._grant("team", "login", options),
        external._not_readable(registry.parse(body), options).message,
    ]
    command = "kubectl create rolebinding strata-secret-reader --namespace team --clusterrole strata-secret-reader"
    assert [text for text in told if not text.endswith(f"{command} --serviceaccount elsewhere:own")] == []
