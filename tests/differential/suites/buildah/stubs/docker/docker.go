// Package docker stands in for the client library of which the table names one type.
package docker

// BuilderVersion says which of docker's builders a case is for.
type BuilderVersion string

const (
	BuilderV1       BuilderVersion = "1"
	BuilderBuildKit BuilderVersion = "2"
)
