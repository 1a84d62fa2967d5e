// Package types stands in for the image library of which the table names one type.
package types

// OptionalBool is a flag that may be absent.
type OptionalBool byte

const (
	OptionalBoolUndefined OptionalBool = iota
	OptionalBoolTrue
	OptionalBoolFalse
)
