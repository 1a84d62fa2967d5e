package main

import (
	"errors"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// failure is an error with the lines that it names; 0 where it names none.
type failure struct {
	Error string `json:"error"`
	Start int    `json:"start"`
	End   int    `json:"end"`
}

func failed(err error) *failure {
	if err == nil {
		return nil
	}
	found := &failure{Error: err.Error()}
	var place *parser.LocationError
	if errors.As(err, &place) {
		for _, ranges := range place.Locations {
			found.widen(ranges)
		}
	}
	return found
}

func (f *failure) widen(ranges []parser.Range) {
	start, end := span(ranges)
	if start > 0 && (f.Start == 0 || start < f.Start) {
		f.Start = start
	}
	f.End = max(f.End, end)
}

// span is the first and the last line of ranges; 0, 0 for none.
func span(ranges []parser.Range) (start, end int) {
	for _, each := range ranges {
		if start == 0 || each.Start.Line < start {
			start = each.Start.Line
		}
		end = max(end, each.End.Line)
	}
	return start, end
}
