"""What applying changes: as kubectl has it, for what people apply with kubectl afterwards must find nothing amiss."""

import json

import pytest

from support import applying


def body(spec, **annotations):
    return {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "annotations": annotations}, "spec": spec}


def test_what_was_applied_is_noted_as_kubectl_notes_it():
    made = applying.noted({"kind": "X", "apiVersion": "v1", "metadata": {"name": "x"}, "spec": {"a": 1}})
    note = '{"apiVersion":"v1","kind":"X","metadata":{"annotations":{},"name":"x"},"spec":{"a":1}}\n'
    assert made["metadata"]["annotations"] == {applying.LAST: note}
    assert applying.noted(made) == made, "a note is not noted"


@pytest.mark.parametrize(
    ("last", "current", "wanted", "changes"),
    [
        ({"a": 1}, {"a": 1, "default": 2}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, {"a": 1}, {"b": None}),
        ({"d": {"inline": "x"}}, {"d": {"inline": "x"}}, {"d": {"path": "y"}}, {"d": {"inline": None, "path": "y"}}),
        ({"tags": ["a", "b"]}, {"tags": ["a", "b"]}, {"tags": ["b"]}, {"tags": ["b"]}),
        ({}, {"tags": ["latest"]}, {"tags": ["v1"]}, {"tags": ["v1"]}),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 1}}, {"a": "text"}, {"a": "text"}),
        ({"a": "text"}, {"a": "text"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({}, {}, {"a": {}}, {"a": {}}),
        ({"a": 1}, {}, {}, {"a": None}),
    ],
)
def test_only_what_differs_or_is_no_longer_applied_is_changed(last, current, wanted, changes):
    there = body(current, **applying.noted(body(last))["metadata"]["annotations"], others="kept")
    new = applying.noted(body(wanted))
    found = applying.patch(there, new)
    assert found.get("spec", {}) == changes
    notes = found.get("metadata", {}).get("annotations", {})
    assert notes == ({applying.LAST: new["metadata"]["annotations"][applying.LAST]} if last != wanted else {})


def test_what_another_tool_made_is_taken_over():
    found = applying.patch(body({"a": 1, "b": 2}), applying.noted(body({"a": 3})))
    assert found["spec"] == {"a": 3}
    assert json.loads(found["metadata"]["annotations"][applying.LAST])["spec"] == {"a": 3}


def test_an_annotation_that_is_no_longer_applied_goes():
    there = applying.noted(body({}, gone="1", kept="2"))
    assert applying.patch(there, applying.noted(body({}, kept="2")))["metadata"]["annotations"]["gone"] is None
