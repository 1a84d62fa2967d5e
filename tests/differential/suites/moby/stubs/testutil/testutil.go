// Package testutil stands in for small helpers.
package testutil

import (
	"context"
	"strings"

	"strata.build/tests/differential/suites/moby/stubs/testing"
)

func GetContext(testing.TB) context.Context { return context.Background() }
func RandomAlpha(count int) string          { return strings.Repeat("a", count) }
