// Command applier does what GitOps controllers do, with the libraries that they are made of.
//
//	applier apply --kubeconfig F --url U --revision R --folder D --namespace N --inventory I [--wait 60s] [--server-side]
//	applier status          < objects   kstatus of each
//	applier health FILE     < objects   what a health check of Argo CD, in Lua, says of each
//	applier discover FILE   < objects   which actions of Argo CD each has
//	applier action FILE     < objects   each as an action of Argo CD leaves it
//
// Objects are JSON values one after another; answers are JSON values, one a line. Exit code 1: something failed.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type answer = map[string]any

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "applier: %v\n", err)
		os.Exit(1)
	}
}

func run(words []string) error {
	if len(words) == 0 {
		return errors.New("say apply, status, health, discover or action")
	}
	switch words[0] {
	case "apply":
		return apply(words[1:])
	case "status":
		return each(kstatus)
	case "health", "discover", "action":
		if len(words) != 2 {
			return fmt.Errorf("%s needs a Lua file", words[0])
		}
		return eachByLua(words[0], words[1])
	}
	return fmt.Errorf("no such command: %s", words[0])
}

// each answers for every object on standard input.
func each(what func(*unstructured.Unstructured) (any, error)) error {
	input := json.NewDecoder(os.Stdin)
	for {
		object := &unstructured.Unstructured{}
		switch err := input.Decode(object); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		said, err := what(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if err := say(said); err != nil {
			return err
		}
	}
}

func say(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}
