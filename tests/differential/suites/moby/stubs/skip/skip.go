// Package skip stands in for conditions of tests: none holds.
package skip

func If(any, any, ...any) {}
