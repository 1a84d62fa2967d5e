// Command argocd asks Argo CD's own code: its Lua machine about health and actions, and its comparison about differences.
//
//	argocd health FILE     < objects           its health, by the script
//	argocd discover FILE   < objects           which actions each has
//	argocd action FILE     < objects           each as the action leaves it
//	argocd diff            < pairs {git, live}   whether Argo CD would show the object as out of sync
//
// Input and output are JSON values, one after another.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/diff"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type pair struct {
	Git  map[string]any `json:"git"`
	Live map[string]any `json:"live"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "argocd: %v\n", err)
		os.Exit(1)
	}
}

func run(words []string) error {
	if len(words) == 1 && words[0] == "diff" {
		return each(func(input *json.Decoder) (any, error) {
			var both pair
			if err := input.Decode(&both); err != nil {
				return nil, err
			}
			return compare(both)
		})
	}
	if len(words) != 2 {
		return errors.New("say health, discover or action and a Lua file, or diff")
	}
	script, err := os.ReadFile(words[1])
	if err != nil {
		return err
	}
	return each(func(input *json.Decoder) (any, error) {
		object := &unstructured.Unstructured{}
		if err := input.Decode(object); err != nil {
			return nil, err
		}
		return ask(words[0], string(script), object)
	})
}

func each(what func(*json.Decoder) (any, error)) error {
	input, output := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		said, err := what(input)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := output.Encode(said); err != nil {
			return err
		}
	}
}

func ask(what, script string, object *unstructured.Unstructured) (any, error) {
	machine := lua.VM{}
	switch what {
	case "health":
		return machine.ExecuteHealthLua(object, script)
	case "discover":
		found, err := machine.ExecuteResourceActionDiscovery(object, []string{script})
		actions := map[string]any{}
		for _, action := range found {
			actions[action.Name] = map[string]any{"disabled": action.Disabled}
		}
		return actions, err
	case "action":
		changed, err := machine.ExecuteResourceAction(object, script, nil)
		if err != nil {
			return nil, err
		}
		if len(changed) != 1 {
			return nil, fmt.Errorf("the action returns %d objects", len(changed))
		}
		return changed[0].UnstructuredObj.Object, nil
	}
	return nil, fmt.Errorf("no such command: %s", what)
}

func compare(both pair) (any, error) {
	git, live := &unstructured.Unstructured{Object: both.Git}, &unstructured.Unstructured{Object: both.Live}
	found, err := diff.Diff(context.Background(), git, live)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"modified": found.Modified, "live": json.RawMessage(found.NormalizedLive), "wanted": json.RawMessage(found.PredictedLive),
	}, nil
}
