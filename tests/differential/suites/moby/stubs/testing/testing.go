// Package testing stands in for the standard one: a failed assertion ends nothing, so that all builds of a test are seen.
package testing

import (
	"context"
	"os"
)

// Skipped is what a test panics with that cannot go on here; its text says what it wants.
type Skipped string

// TB is what helpers are given.
type TB interface {
	Helper()
	Name() string
	Fatal(...any)
	Fatalf(string, ...any)
}

// T is one test.
type T struct{ Test string }

func (t *T) Name() string           { return t.Test }
func (*T) Helper()                  {}
func (*T) Parallel()                {}
func (*T) Log(...any)               {}
func (*T) Logf(string, ...any)      {}
func (*T) Error(...any)             {}
func (*T) Errorf(string, ...any)    {}
func (*T) Fatal(...any)             {}
func (*T) Fatalf(string, ...any)    {}
func (*T) Failed() bool             { return false }
func (*T) Fail()                    {}
func (*T) FailNow()                 {}
func (*T) Cleanup(func())           {}
func (*T) Setenv(string, string)    {}
func (*T) Context() context.Context { return context.Background() }
func (*T) Skip(...any)              { panic(Skipped("something that these tests have not")) }
func (t *T) Skipf(string, ...any)   { t.Skip() }

// TempDir is a new folder.
func (*T) TempDir() string {
	folder, err := os.MkdirTemp("", "test")
	if err != nil {
		panic(err)
	}
	return folder
}

// Run does a part of the test at once.
func (t *T) Run(name string, part func(*T)) bool {
	part(&T{t.Test + "/" + name})
	return true
}
