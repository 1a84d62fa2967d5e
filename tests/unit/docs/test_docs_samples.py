"""Programs that the pages show do what the pages say."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from strata_operator.notifications import signing
from strata_operator.webhooks import signatures
from support import helm_chart, pages

NOTIFICATIONS, WEBHOOKS = ((pages.CHECKOUT / "docs" / page).read_text() for page in ("notifications.md", "webhooks.md"))


@pytest.mark.parametrize("key", ["whsec_" + base64.b64encode(b"k" * 32).decode(), "a plain word"])
def test_the_check_of_a_signature_takes_what_is_sent_and_nothing_else(key: str):
    (shown,) = re.findall(r"^```python\n(.*?)^```", NOTIFICATIONS, re.MULTILINE | re.DOTALL)
    there: dict[str, Any] = {}
    exec(shown, there)
    now = int(time.time())
    sent = {"webhook-id": "u/1/1/failed", "webhook-timestamp": str(now)}
    sent["webhook-signature"] = signing.sign(signing.key_of(key), sent["webhook-id"], now, b"{}")
    assert there["is_ours"](sent, b"{}", key)
    assert not there["is_ours"](sent, b"{ }", key)
    assert not there["is_ours"]({**sent, "webhook-timestamp": str(now - 900)}, b"{}", key)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there")
def test_the_headers_of_deliveries_by_curl_prove_that_one_knows_the_token():
    headers = re.findall(r'^\$ curl -d "\$body" -H "(X-Strata.*\)|Authorization: [^"]*)"', WEBHOOKS, re.MULTILINE)
    assert len(headers) == 2
    for header in headers:
        script = f"body='{{}}'; token=a-token; printf %s \"{header}\""
        name, _, value = subprocess.check_output(["sh", "-c", script], text=True).partition(": ")
        check = signatures.Check("a-token", {name: value})
        check.feed(b"{}")
        assert check.proven(), header


def shown() -> list[tuple[str, dict[str, Any]]]:
    """(page, object) of the YAML that the pages show."""
    blocks = [
        (page.name, block)
        for page in pages.PAGES
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]
    return [(page, body) for page, block in blocks for body in yaml.safe_load_all(block)]


def test_objects_and_parts_of_specs_have_fields_that_there_are():
    seen = 0
    for page, body in shown():
        kind = body.get("kind") or ("ImageBuild" if body.keys() == {"spec"} else "")
        if kind in pages.SCHEMAS:
            seen += 1
            written = pages.patched({"spec": body.get("spec") or {}})
            assert [path for path in written if pages.within(pages.SCHEMAS[kind], path) is None] == [], page
    assert seen >= 7


@pytest.mark.skipif(helm_chart.helm() is None, reason="helm is nowhere; `make cluster-up` builds it")
def test_values_that_are_shown_make_a_chart():
    found = [(page, body) for page, body in shown() if body.keys() <= pages.VALUES.keys()]
    assert len(found) >= 3
    for page, values in found:
        assert helm_chart.template(values).returncode == 0, page


def examples(schema: pages.Schema, path: str = "") -> Iterator[tuple[str, pages.Schema, Any]]:
    """(path, schema, value) of the examples in the descriptions of fields."""
    for text in re.findall(r"Example: `([^`]*)`", " ".join(schema.get("description", "").split())):
        if "…" not in text and not text.startswith("FROM "):
            yield path, schema, yaml.safe_load(text)
    for name, field in schema.get("properties", {}).items():
        yield from examples(field, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from examples(schema[name], f"{path}[]")


def wrong(schema: pages.Schema, value: Any) -> str:
    """What of `value` the schema does not know; empty if nothing."""
    if isinstance(value, dict):
        fields = {name: schema.get("properties", {}).get(name) or schema.get("additionalProperties") for name in value}
        found = (wrong(field, value[name]) if field else name for name, field in fields.items())
        return next(filter(None, found), "")
    if isinstance(value, list):
        return next(filter(None, (wrong(schema["items"], item) for item in value)), "")
    good = str(value) in schema.get("enum", [str(value)]) and re.search(schema.get("pattern", ""), str(value))
    return "" if good else str(value)


@pytest.mark.parametrize("kind", sorted(pages.SCHEMAS))
def test_examples_of_the_crds_are_what_their_fields_take(kind: str):
    found = list(examples(pages.SCHEMAS[kind]))
    assert found
    assert [(path, why) for path, schema, value in found if (why := wrong(schema, value))] == []
