package main

import (
	"bytes"
	"path/filepath"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/moby/sys/signal"
)

// ignore tells which of the asked paths a .dockerignore leaves out.
func ignore(asked request) any {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(asked.Source))
	if err != nil {
		return fields{"error": err.Error()}
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return fields{"error": err.Error()}
	}
	out := make([]bool, len(asked.Words))
	for i, path := range asked.Words {
		if out[i], err = matcher.MatchesOrParentMatches(path); err != nil {
			return fields{"error": err.Error()}
		}
	}
	return fields{"ignored": out}
}

func match(asked request) any {
	out := make([]bool, len(asked.Words))
	for i, name := range asked.Words {
		var err error
		if out[i], err = filepath.Match(asked.Pattern, name); err != nil {
			return fields{"error": err.Error()}
		}
	}
	return fields{"matched": out}
}

func signals(asked request) any {
	known := make([]bool, len(asked.Words))
	for i, name := range asked.Words {
		_, err := signal.ParseSignal(name)
		known[i] = err == nil
	}
	return known
}
