// Package fakestorage stands in for a server of files; whoever builds the cases has one at this address.
package fakestorage

import (
	"strata.build/tests/differential/suites/moby/stubs/fakecontext"
	"strata.build/tests/differential/suites/moby/stubs/testing"
)

// Fake is a server; Served hears of its folder.
type Fake struct{ *fakecontext.Fake }

var Served func(folder string)

// New makes the files.
func New(t testing.TB, folder string, modifiers ...func(*fakecontext.Fake) error) *Fake {
	made := fakecontext.New(t, folder, modifiers...)
	Served(made.Dir)
	return &Fake{made}
}

func (*Fake) URL() string      { return "http://files" }
func (f *Fake) CtxDir() string { return f.Dir }
func (*Fake) Close() error     { return nil }
