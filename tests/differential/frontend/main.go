// Command frontend answers questions about Dockerfiles with BuildKit's own packages.
//
// Each line on standard input is a JSON request, each line on standard output the answer to it, in order. It is the
// reference that the differential tests hold Strata's reading of Dockerfiles against.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
)

// request asks one thing; which fields matter depends on Kind.
type request struct {
	Kind     string
	Source   []byte            // the Dockerfile, or the .dockerignore
	Env      []string          // NAME=value, what variables see
	Escape   string            // the escape character of a word
	Words    []string          // words to expand, names to match, references to normalise
	Pattern  string            // for match
	Target   string            // of a build
	Args     map[string]string // build arguments
	Platform string            // of a build
	Images   map[string]string // image reference -> its config as JSON
	Labels   map[string]string // labels of the build
	Ignore   []byte            // .dockerignore of the context that a check sees
}

var kinds = map[string]func(request) any{
	"parse":     parse,
	"expand":    expand,
	"build":     build,
	"lint":      check,
	"ignore":    ignore,
	"match":     match,
	"reference": references,
	"signal":    signals,
}

func main() {
	// Stages are resolved side by side, and what two of them warn of is appended to one list without a lock: with one
	// processor they hardly ever meet there.
	runtime.GOMAXPROCS(1)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked request
		if err := json.Unmarshal(line, &asked); err != nil {
			fmt.Fprintln(os.Stderr, "frontend:", err)
			os.Exit(2)
		}
		if err := out.Encode(answer(asked)); err != nil {
			fmt.Fprintln(os.Stderr, "frontend:", err)
			os.Exit(2)
		}
	}
}

// answer never fails: a panic of the packages under test is an answer too.
func answer(asked request) (result any) {
	defer func() {
		if found := recover(); found != nil {
			result = map[string]any{"panic": fmt.Sprint(found)}
		}
	}()
	kind, ok := kinds[asked.Kind]
	if !ok {
		return map[string]any{"panic": "no such kind: " + asked.Kind}
	}
	return kind(asked)
}
