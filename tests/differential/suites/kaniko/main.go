// Prints the tables of arguments as JSON.
package main

import (
	"encoding/json"
	"os"
)

func main() {
	tables := map[string]map[string][]string{"args": argsMap, "env": envsMap, "flags": additionalDockerFlagsMap}
	if err := json.NewEncoder(os.Stdout).Encode(tables); err != nil {
		panic(err)
	}
}
