# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""Names, settings, conditions and metrics: the pure parts of the frame."""

import re
from pathlib import Path

import pytest

from strata_operator import conditions, kube, logs, main, metrics, names, settings

NOWHERE = Path("/nonexistent")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("main", "strata-main"),
        ("a" * 56, "strata-" + "a" * 56),
        ("a.b", None),
        ("a" * 57, None),
        ("main-0123456789", None),
    ],
)
def test_derived_names_are_dns_labels_and_hashed_only_where_they_must(name, expected):
    derived = names.derived("strata", name)
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", derived)
    assert derived == expected if expected else re.search(r"-[0-9a-f]{10}$", derived)


def test_derived_names_of_different_objects_differ():
    given = ["a", "a.b", "a-b", "a_b", "x" * 60, "x" * 61, names.derived("strata", "a.b").removeprefix("strata-")]
    assert len({names.derived("strata", name) for name in given}) == len(given)


@pytest.mark.parametrize("text", ["", "plain", "a" * 63, "a" * 253, "with spaces", "-begins", "ends-", "ü"])
def test_label_values_are_valid_and_kept_where_they_can_be(text):
    value = names.label_value(text)
    assert re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", value)
    assert len(value) <= 63
    assert names.label_value(value) == value


@pytest.mark.parametrize(
    ("resource", "arguments", "path"),
    [
        (names.PODS, (), "/api/v1/pods"),
        (names.PODS, ("ns", "p"), "/api/v1/namespaces/ns/pods/p"),
        (names.NAMESPACES, ("", "ns"), "/api/v1/namespaces/ns"),
        (names.REGISTRIES, ("ns", "r", "status"), "/apis/strata.build/v1alpha1/namespaces/ns/registries/r/status"),
    ],
)
def test_paths_are_those_of_the_api_server(resource, arguments, path):
    assert resource.path(*arguments) == path


def test_settings_are_read_by_type_and_missing_ones_have_defaults():
    found = settings.load(
        {
            "STRATA_NAMESPACE": "strata-system",
            "STRATA_WORKERS": "7",
            "STRATA_MIRRORS": "docker.io=http://mirror:5000, quay.io=https://quay.example",
            "STRATA_NODE_CIDRS": "10.0.0.0/8,fd00::/8",
        },
        own_namespace=NOWHERE,
    )
    assert (found.namespace, found.workers, found.log_format) == ("strata-system", 7, "json")
    assert found.mirrors == {"docker.io": "http://mirror:5000", "quay.io": "https://quay.example"}
    assert found.node_cidrs == ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRATA_NAMESPACE", ""),
        ("STRATA_WORKERS", "many"),
        ("STRATA_WORKERS", "0"),
        ("STRATA_LOG_FORMAT", "xml"),
        ("STRATA_MIRRORS", "docker.io"),
        ("STRATA_MIRRORS", "docker.io=mirror:5000"),
        ("STRATA_NODE_CIDRS", "10.0.0.0/33"),
        ("STRATA_RESYNC_SECONDS", "0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name, value):
    with pytest.raises(settings.SettingsError, match=f"^{name}"):
        settings.load({"STRATA_NAMESPACE": "x"} | {name: value}, own_namespace=NOWHERE)


def test_settings_with_an_inner_structure_are_json():
    found = settings.load(
        {"STRATA_NAMESPACE": "x", "STRATA_NODE_PROXY": "false", "STRATA_BUILD_POD": '{"nodeSelector": {"a": "b=c,d"}}'},
        own_namespace=NOWHERE,
    )
    assert found.node_proxy is False
    assert found.build_pod == {"nodeSelector": {"a": "b=c,d"}}


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("STRATA_NODE_PROXY", "no", "true or false"),
        ("STRATA_BUILD_POD", "[]", "object"),
        ("STRATA_BUILD_POD", "{", "Expecting"),
        ("STRATA_BUILD_POD", '{"hostNetwork": true}', "hostNetwork"),
    ],
)
def test_bad_structures_are_refused_by_name(name, value, word):
    with pytest.raises(settings.SettingsError, match=f"^{name}.*{word}"):
        settings.load({"STRATA_NAMESPACE": "x", name: value}, own_namespace=NOWHERE)


@pytest.mark.parametrize("bundle", [None, "garbage", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
def test_an_operator_whose_certificates_cannot_be_used_ends_with_one_line(tmp_path, monkeypatch, capsys, bundle):
    if bundle is not None:
        (tmp_path / "ca.crt").write_text(bundle)
    monkeypatch.setenv("STRATA_NAMESPACE", "strata-system")
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setenv("STRATA_CA_BUNDLE_FILE", str(tmp_path / "ca.crt"))
    assert main.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("strata-operator: STRATA_CA_BUNDLE_FILE: ")
    assert str(tmp_path / "ca.crt") in said
    assert said.count("\n") == 1


def test_in_a_pod_the_namespace_is_known(tmp_path):
    (tmp_path / "namespace").write_text("strata-system")
    assert settings.load({}, own_namespace=tmp_path / "namespace").namespace == "strata-system"


def test_the_time_of_a_condition_moves_only_when_its_status_flips():
    first = conditions.merge([], conditions.reconciling("Waiting", "for a"), generation=1, now=100)
    second = conditions.merge(first, conditions.reconciling("Waiting", "for b"), generation=2, now=200)
    third = conditions.merge(second, conditions.ready("Serving", "now"), generation=2, now=300)
    assert [c["type"] for c in first] == ["Ready", "Reconciling"]
    assert second[0]["lastTransitionTime"] == first[0]["lastTransitionTime"] == "1970-01-01T00:01:40Z"
    assert (second[0]["message"], second[0]["observedGeneration"]) == ("for b", 2)
    assert [c["type"] for c in third] == ["Ready"]
    assert third[0]["lastTransitionTime"] == "1970-01-01T00:05:00Z"
    assert conditions.unix(third[0]["lastTransitionTime"]) == 300


def test_ready_is_asked_of_a_generation():
    found = conditions.merge([], conditions.ready("Serving", ""), generation=3, now=0)
    assert conditions.is_true(found, "Ready", generation=3)
    assert not conditions.is_true(found, "Ready", generation=4)
    assert not conditions.is_true(found, "Stalled")
    assert not conditions.is_true(None, "Ready")


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1, "b": 2}, {"a": 3}, {"a": 3, "b": None}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"y": None}}),
        ({"a": {"x": 1}}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"x": 1}}, {"a": {"x": 1}}),
    ],
)
def test_a_merge_patch_holds_the_difference_and_nothing_else(old, new, patch):
    assert kube.replacement(old, new) == patch


def test_the_metrics_are_those_that_the_module_lists():
    listed = set(re.findall(r"^(strata_\w+) ", metrics.__doc__, re.MULTILINE))
    served = set(re.findall(r"^# TYPE (\S+) ", metrics.Metrics().render().decode(), re.MULTILINE))
    assert listed == {name for name in served if not name.startswith("process_")}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= served
