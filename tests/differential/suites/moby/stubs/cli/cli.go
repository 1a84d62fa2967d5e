// Package cli stands in for the helpers that call docker.
package cli

import (
	"time"

	"strata.build/tests/differential/suites/moby/stubs/icmd"
	"strata.build/tests/differential/suites/moby/stubs/testing"
)

// CmdOperator changes a command; what it returns is called afterwards.
type CmdOperator = func(*icmd.Cmd) func()

// Docker calls docker.
func Docker(command icmd.Cmd, operators ...CmdOperator) *icmd.Result {
	for _, operator := range operators {
		if after := operator(&command); after != nil {
			defer after()
		}
	}
	command.Command = append([]string{"docker"}, command.Command...)
	return icmd.Run(command)
}

// DockerCmd calls docker, which must succeed.
func DockerCmd(t testing.TB, arguments ...string) *icmd.Result {
	return Docker(Args(arguments...)).Assert(t, icmd.Success)
}

// BuildCmd builds, which must succeed.
func BuildCmd(t testing.TB, name string, operators ...CmdOperator) *icmd.Result {
	return Docker(Args("build", "-t", name), operators...).Assert(t, icmd.Success)
}

func InspectCmd(testing.TB, string, ...CmdOperator) *icmd.Result {
	return &icmd.Result{Expect: func(bool) {}}
}
func WaitRun(testing.TB, string, ...CmdOperator)                   {}
func WaitExited(testing.TB, string, time.Duration, ...CmdOperator) {}
func WithTimeout(time.Duration) CmdOperator                        { return func(*icmd.Cmd) func() { return nil } }

// Args is a command.
func Args(words ...string) icmd.Cmd { return icmd.Cmd{Command: words} }

// WithFlags adds words.
func WithFlags(words ...string) CmdOperator {
	return func(c *icmd.Cmd) func() {
		c.Command = append(c.Command, words...)
		return nil
	}
}

// WithEnvironmentVariables adds to the environment.
func WithEnvironmentVariables(env ...string) CmdOperator {
	return func(c *icmd.Cmd) func() {
		c.Env = append(c.Env, env...)
		return nil
	}
}

// WithStdin sets the input.
func WithStdin(input interface{ Read([]byte) (int, error) }) CmdOperator {
	return func(c *icmd.Cmd) func() {
		c.Stdin = input
		return nil
	}
}

// Format asks for a part of what docker says.
func Format(string) CmdOperator { return func(*icmd.Cmd) func() { return nil } }

// InDir sets the command's folder.
func InDir(path string) CmdOperator {
	return func(c *icmd.Cmd) func() {
		c.Dir = path
		return nil
	}
}
