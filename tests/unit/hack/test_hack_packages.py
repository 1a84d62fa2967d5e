"""Which packages the tests still need, and what is said of them."""

from pathlib import Path

from hack import packages


def test_only_packages_of_which_the_file_is_not_there_are_missing():
    there = {Path(packages.PACKAGES["git"]), Path(packages.PACKAGES["zstd"])}
    assert packages.missing(packages.PACKAGES, there.__contains__) == ["curl", "openssh-client", "openssh-server"]
    assert packages.missing(packages.PACKAGES, lambda _: True) == []


def test_who_is_not_root_is_told_what_to_type():
    assert packages.told(["git", "zstd"]).endswith("apt-get install git zstd")
