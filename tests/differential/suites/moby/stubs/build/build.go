// Package build stands in for the options of `docker build`.
package build

import (
	"io"
	"strings"

	"strata.build/tests/differential/suites/moby/stubs/cli"
	"strata.build/tests/differential/suites/moby/stubs/fakecontext"
	"strata.build/tests/differential/suites/moby/stubs/icmd"
	"strata.build/tests/differential/suites/moby/stubs/testing"
)

// WithStdinContext gives the context as an archive.
func WithStdinContext(input io.ReadCloser) cli.CmdOperator {
	return func(c *icmd.Cmd) func() {
		c.Command, c.Stdin = append(c.Command, "-"), input
		return nil
	}
}

// WithDockerfile gives a Dockerfile alone.
func WithDockerfile(dockerfile string) cli.CmdOperator {
	return func(c *icmd.Cmd) func() {
		c.Command, c.Stdin = append(c.Command, "-"), strings.NewReader(dockerfile)
		return nil
	}
}

// WithBuildkit says which builder of docker's is to be used.
func WithBuildkit(bool) cli.CmdOperator { return func(*icmd.Cmd) func() { return nil } }

// WithoutCache turns the cache off.
func WithoutCache(*icmd.Cmd) func() { return nil }

// WithContextPath gives the context's folder.
func WithContextPath(path string) cli.CmdOperator {
	return func(c *icmd.Cmd) func() {
		c.Command = append(c.Command, path)
		return nil
	}
}

// WithExternalBuildContext gives a folder that is there.
func WithExternalBuildContext(folder *fakecontext.Fake) cli.CmdOperator {
	return func(c *icmd.Cmd) func() {
		c.Dir, c.Command = folder.Dir, append(c.Command, ".")
		return nil
	}
}

// WithBuildContext makes a folder.
func WithBuildContext(t testing.TB, modifiers ...func(*fakecontext.Fake) error) cli.CmdOperator {
	return WithExternalBuildContext(fakecontext.New(t, "", modifiers...))
}

// WithFile adds a file.
func WithFile(name, content string) func(*fakecontext.Fake) error {
	return fakecontext.WithFile(name, content)
}
