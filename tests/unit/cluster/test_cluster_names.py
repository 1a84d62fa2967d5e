import pytest

from cluster import errors, identity, subnet


def test_two_checkouts_share_no_name():
    one, other = identity.Identity.of("/home/a/strata"), identity.Identity.of("/home/b/strata")
    assert not {one.name, one.link, one.table} & {other.name, other.link, other.table}


def test_a_suffix_makes_another_cluster_of_the_same_checkout():
    assert identity.Identity.of("/work", "faults") != identity.Identity.of("/work")


def test_the_same_checkout_has_the_same_name_again():
    assert identity.Identity.of("/work").name == identity.Identity.of("/work").name


def test_a_suffix_is_not_mistaken_for_a_part_of_the_path():
    assert identity.Identity.of("/work", "x") != identity.Identity.of("/workx")


def test_the_kernel_takes_the_link_name():
    assert len(identity.Identity.of("/work").link) <= 15


@pytest.mark.parametrize(
    ("taken", "number"),
    [
        ([], 0),
        (["192.168.1.0/24", "172.17.0.1/16"], 0),
        (["10.231.0.1/30"], 1),
        (["10.231.0.1/30", "10.231.2.1/30"], 1),
        (["10.231.0.0/24", "10.231.1.0/30"], 2),
        (["10.231.0.2"], 1),
    ],
)
def test_the_lowest_subnet_that_the_host_does_not_use_is_taken(taken, number):
    assert subnet.choose(taken).number == number


@pytest.mark.parametrize("whole", ["10.231.0.0/16", "10.0.0.0/8"])
def test_a_host_that_uses_the_whole_range_is_told_so(whole):
    with pytest.raises(errors.ClusterError, match="all networks"):
        subnet.choose([whole])


def test_host_and_node_are_in_one_network():
    net = subnet.Subnet(7)
    assert (net.host, net.node, net.network) == ("10.231.7.1", "10.231.7.2", "10.231.7.0/30")
