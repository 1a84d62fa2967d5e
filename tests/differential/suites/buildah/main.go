// Writes every case of the table below a folder, and what they are to cases.json.
//
//	buildah TESTDATA FOLDER
package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// recorded is a case as the tests read it; see cases.py.
type recorded struct {
	Name       string            `json:"name"`
	Context    string            `json:"context"`
	Dockerfile string            `json:"dockerfile"`
	Args       map[string]string `json:"args,omitempty"`
	Fails      bool              `json:"fails"`
	Needs      string            `json:"needs,omitempty"`
}

func selinuxMountFlag() string { return "" }

func main() {
	yes := true
	contextCanDoXattrs, storageCanDoXattrs = &yes, &yes
	found := []recorded{}
	for number, test := range internalTestCases {
		one, err := write(os.Args[1], os.Args[2], number, test)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", test.name, err)
			os.Exit(1)
		}
		found = append(found, one)
	}
	content, _ := json.MarshalIndent(found, "", " ")
	if err := os.WriteFile(filepath.Join(os.Args[2], "cases.json"), content, 0o644); err != nil {
		panic(err)
	}
}

func write(testdata, folder string, number int, test testCase) (recorded, error) {
	name := fmt.Sprintf("%03d", number)
	one := recorded{Name: test.name, Context: name, Dockerfile: "Dockerfile", Args: test.buildArgs, Fails: test.shouldFailAt > 0}
	if test.dockerfile != "" {
		one.Dockerfile = test.dockerfile
	}
	if len(test.transientMounts) > 0 {
		one.Needs = "a flag of buildah's own: volumes for the build"
	}
	target := filepath.Join(folder, name)
	if err := os.Mkdir(target, 0o755); err != nil {
		return one, err
	}
	source := filepath.Join(testdata, test.contextDir)
	if test.contextDir != "" {
		if err := copyTree(source, target); err != nil {
			return one, err
		}
	} else if test.dockerfile != "" {
		if err := copyFile(filepath.Join(source, test.dockerfile), filepath.Join(target, test.dockerfile)); err != nil {
			return one, err
		}
	}
	if test.tweakContextDir != nil {
		if err := test.tweakContextDir(&testing.T{}, target, "overlay", ""); err != nil {
			return one, err
		}
	}
	if test.dockerfileContents != "" {
		return one, os.WriteFile(filepath.Join(target, one.Dockerfile), []byte(test.dockerfileContents), 0o644)
	}
	return one, nil
}

// copyTree copies files and directories, with modes that can be written to: a Go module has no others to tell of.
func copyTree(source, target string) error {
	return filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, path)
		if err != nil || relative == "." {
			return err
		}
		if entry.IsDir() {
			return os.Mkdir(filepath.Join(target, relative), 0o755)
		}
		return copyFile(path, filepath.Join(target, relative))
	})
}

func copyFile(source, target string) error {
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	return os.WriteFile(target, content, 0o644)
}
