"""Programs that the pages show do what the pages say."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import time
from typing import Any

import pytest

from strata_operator.notifications import signing
from strata_operator.webhooks import signatures
from support import pages

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
