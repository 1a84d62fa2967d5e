// Package command stands in for the names of instructions.
package command

// Commands are the ones that a test goes through.
var Commands = map[string]struct{}{
	"add": {}, "arg": {}, "cmd": {}, "copy": {}, "entrypoint": {}, "env": {}, "expose": {}, "from": {}, "healthcheck": {},
	"label": {}, "maintainer": {}, "onbuild": {}, "run": {}, "shell": {}, "stopsignal": {}, "user": {}, "volume": {}, "workdir": {},
}
