// Package compression stands in for the kinds of archives.
package compression

// Compression is a kind.
type Compression int

const (
	None Compression = iota
	Gzip
)
