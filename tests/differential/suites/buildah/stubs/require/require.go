// Package require stands in for the assertions that the table makes while it writes files.
package require

import "testing"

// NoError ends the program: a case that cannot be written is no case.
func NoError(_ testing.TB, err error, _ ...any) {
	if err != nil {
		panic(err)
	}
}
