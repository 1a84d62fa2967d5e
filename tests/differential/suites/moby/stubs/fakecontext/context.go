// Package fakecontext stands in for making folders of files.
package fakecontext

import (
	"bytes"
	"os"
	"path/filepath"

	"strata.build/tests/differential/suites/moby/stubs/testing"
)

// Fake is a folder.
type Fake struct{ Dir string }

// New makes a folder, unless one is named, and fills it.
func New(t testing.TB, folder string, modifiers ...func(*Fake) error) *Fake {
	if folder == "" {
		made, err := os.MkdirTemp("", "context")
		if err != nil {
			panic(err)
		}
		folder = made
	}
	fake := &Fake{folder}
	for _, modifier := range modifiers {
		if err := modifier(fake); err != nil {
			panic(err)
		}
	}
	return fake
}

// Add writes a file.
func (f *Fake) Add(name, content string) error {
	path := filepath.Join(f.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

// Delete removes a file.
func (f *Fake) Delete(name string) error { return os.RemoveAll(filepath.Join(f.Dir, name)) }

// Close keeps the folder: it is in a scratch folder of its own.
func (f *Fake) Close() error { return nil }

// WithFile adds a file.
func WithFile(name, content string) func(*Fake) error {
	return func(f *Fake) error { return f.Add(name, content) }
}

// WithDockerfile adds a Dockerfile.
func WithDockerfile(content string) func(*Fake) error { return WithFile("Dockerfile", content) }

// WithFiles adds files.
func WithFiles(files map[string]string) func(*Fake) error {
	return func(f *Fake) error {
		for name, content := range files {
			if err := f.Add(name, content); err != nil {
				return err
			}
		}
		return nil
	}
}

// WithBinaryFiles adds files.
func WithBinaryFiles(files map[string]*bytes.Buffer) func(*Fake) error {
	return func(f *Fake) error {
		for name, content := range files {
			if err := f.Add(name, content.String()); err != nil {
				return err
			}
		}
		return nil
	}
}
