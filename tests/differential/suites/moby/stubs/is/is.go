// Package is stands in for comparisons.
package is

func Contains(any, any) any           { return nil }
func Equal(any, any) any              { return nil }
func DeepEqual(any, any, ...any) any  { return nil }
func Regexp(any, string) any          { return nil }
func Len(any, int) any                { return nil }
func Nil(any) any                     { return nil }
func ErrorContains(error, string) any { return nil }
