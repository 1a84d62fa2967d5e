"""Which addresses the operator asks for users: what is inside stays unasked in every form that an address can have."""

from __future__ import annotations

import pytest

from strata_builder.registry import errors
from strata_operator import addresses

API = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


@pytest.mark.parametrize(
    ("address", "admitted"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::5db8:d822", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("169.254.169.254", False),  # the metadata service of clouds
        ("fd00:ec2::254", False),
        ("fe80::1%eth0", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
        ("255.255.255.255", False),
        ("10.96.0.1", False),
        ("10.96.0.7", False),
        ("10.244.3.9", False),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("fd12:3456::1", False),
        ("fec0::1", False),
        ("192.0.2.1", False),
        ("::ffff:10.96.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("::10.96.0.1", False),
        ("64:ff9b::a60:1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::a60:1", False),
        ("2002:a60:1::1", False),
        ("2001:0:4136:e378:8000:63bf:f59f:fffe", False),  # Teredo of 10.96.0.1
    ],
)
def test_what_is_inside_is_not_asked(address, admitted):
    assert addresses.of_users((), API).admits(address) is admitted


@pytest.mark.parametrize(
    ("allowed", "address", "admitted"),
    [
        (["10.20.0.0/16"], "10.20.0.5", True),
        (["10.20.0.0/16"], "10.21.0.5", False),
        (["10.20.0.0/16"], "::ffff:10.20.0.5", True),
        (["10.20.0.0/16"], "::ffff:10.21.0.5", False),
        (["fd00:20::/32"], "fd00:20::5", True),
        (["127.0.0.1/32"], "127.0.0.1", True),
        (["10.0.0.0/8"], "10.96.0.7", True),
        (["10.0.0.0/8"], "10.96.0.1", False),
        (["0.0.0.0/0"], "10.96.0.1", False),
        (["10.96.0.1/32"], "10.96.0.1", True),
        (["10.0.0.0/8"], "64:ff9b::a60:1", False),
        (["10.0.0.0/8"], "169.254.169.254", False),
    ],
)
def test_an_administrator_may_allow_blocks_but_not_the_api_server_by_accident(allowed, address, admitted):
    assert addresses.of_users(allowed, API).admits(address) is admitted


@pytest.mark.parametrize(
    ("refused", "address", "admitted"),
    [
        (["203.0.113.0/24"], "203.0.113.9", False),
        (["10.96.0.0/16"], "10.96.0.7", False),
        (["10.96.0.0/29"], "10.96.0.7", False),
    ],
)
def test_a_refused_block_counts_within_a_larger_allowed_one(refused, address, admitted):
    assert addresses.Filter.of(["203.0.0.0/8", "10.0.0.0/8"], refused).admits(address) is admitted


@pytest.mark.parametrize("environ", [{}, {"KUBERNETES_SERVICE_HOST": "kubernetes.default.svc"}])
def test_a_place_without_an_api_address_has_a_filter_all_the_same(environ):
    admits = addresses.of_users((), environ)
    assert admits.admits("93.184.216.34")
    assert not admits.admits("10.0.0.1")


def test_a_refusal_names_the_host_its_address_and_who_can_change_it():
    with pytest.raises(errors.AddressRefused, match=r"git\.example is 10\.0\.0\.1") as caught:
        addresses.of_users((), API).hook("git.example", "10.0.0.1")
    assert "pollAllowedCidrs" in caught.value.hint
