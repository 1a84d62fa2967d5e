// Package icmd stands in for running commands: they are written down and succeed.
package icmd

import (
	"io"
	"time"

	"strata.build/tests/differential/suites/moby/stubs/testing"
)

// Cmd is a command as a test composes it.
type Cmd struct {
	Command []string
	Timeout time.Duration
	Stdin   io.Reader
	Stdout  io.Writer
	Dir     string
	Env     []string
}

// Expected is how a test wants a command to end.
type Expected struct {
	ExitCode int
	Timeout  bool
	Error    string
	Out      string
	Err      string
}

// CmdOp changes a command.
type CmdOp func(*Cmd)

// Result of a command that was written down; Expect hears how the test wants it to end.
type Result struct {
	Cmd      *Cmd
	ExitCode int
	Error    error
	Timeout  bool
	Expect   func(fails bool)
}

// Run is called with every command.
var Run func(Cmd) *Result

// None says that nothing is expected of an output.
const None = "[NOTHING]"

// Success is the end that most tests want.
var Success = Expected{}

// Assert tells what was expected.
func (r *Result) Assert(_ testing.TB, expected Expected) *Result {
	r.Expect(expected.ExitCode != 0)
	return r
}

func (r *Result) Equal(Expected) error   { return nil }
func (r *Result) Compare(Expected) error { return nil }
func (r *Result) Combined() string       { return "" }
func (r *Result) Stdout() string         { return "" }
func (r *Result) Stderr() string         { return "" }
func (r *Result) String() string         { return "" }

// RunCmd writes a command down.
func RunCmd(command Cmd, changes ...CmdOp) *Result {
	for _, change := range changes {
		change(&command)
	}
	return Run(command)
}

// RunCommand writes a command down.
func RunCommand(name string, arguments ...string) *Result {
	return Run(Cmd{Command: append([]string{name}, arguments...)})
}

// StartCmd writes a command down.
func StartCmd(command Cmd) *Result { return Run(command) }

// WaitOnCmd has nothing to wait for.
func WaitOnCmd(_ time.Duration, result *Result) *Result { return result }

// Dir sets a command's folder.
func Dir(path string) CmdOp { return func(c *Cmd) { c.Dir = path } }

// WithEnv sets a command's environment.
func WithEnv(env ...string) CmdOp { return func(c *Cmd) { c.Env = env } }

// WithStdin sets a command's input.
func WithStdin(r io.Reader) CmdOp { return func(c *Cmd) { c.Stdin = r } }

// Command makes a command.
func Command(name string, arguments ...string) Cmd {
	return Cmd{Command: append([]string{name}, arguments...)}
}
