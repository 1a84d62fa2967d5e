// Package fakegit stands in for a git server, which there is none of.
package fakegit

import "strata.build/tests/differential/suites/moby/stubs/testing"

// FakeGit is a repository.
type FakeGit struct{ RepoURL string }

// New ends the test.
func New(testing.TB, string, map[string]string, bool) *FakeGit {
	panic(testing.Skipped("a git server of the test's own"))
}

func (*FakeGit) Close() {}
