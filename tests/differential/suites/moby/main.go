// Writes down what every test below asks docker to build, in a folder.
//
//	moby FOLDER
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"strata.build/tests/differential/suites/moby/stubs/fakestorage"
	"strata.build/tests/differential/suites/moby/stubs/icmd"
	"strata.build/tests/differential/suites/moby/stubs/testing"
)

// recorded is a case as the tests read it; see recorded.py.
type recorded struct {
	Name       string      `json:"name"`
	Context    string      `json:"context"`
	Dockerfile string      `json:"dockerfile"`
	Settings   [][2]string `json:"settings,omitempty"`
	Served     string      `json:"served,omitempty"`
	Fails      *bool       `json:"fails"`
	Needs      string      `json:"needs,omitempty"`
}

type recorder struct {
	folder string
	test   string
	count  int
	served string
	built  map[string]bool
	cases  []*recorded
}

func main() {
	r := &recorder{folder: os.Args[1]}
	icmd.Run = r.run
	fakestorage.Served = func(folder string) { r.served = folder }
	suite := reflect.ValueOf(&DockerCLIBuildSuite{&DockerSuite{}})
	for number := range suite.NumMethod() {
		name := suite.Type().Method(number).Name
		if test, ok := suite.Method(number).Interface().(func(*testing.T)); ok && strings.HasPrefix(name, "Test") {
			r.record(strings.TrimPrefix(name, "TestBuild"), test)
		}
	}
	content, err := json.MarshalIndent(r.cases, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(r.folder, "cases.json"), content, 0o644)
	}
	if err != nil {
		panic(err)
	}
}

// record runs a test. One that ends early has told of its builds up to there; one without any is a case that needs more.
func (r *recorder) record(name string, test func(*testing.T)) {
	r.test, r.count, r.served, r.built = name, 0, "", map[string]bool{}
	needs := "what `docker build` prints or keeps, and no image"
	defer func() {
		if skipped, ok := recover().(testing.Skipped); ok {
			needs = string(skipped)
		}
		if r.count == 0 {
			r.begin().Needs = needs
		}
	}()
	test(&testing.T{Test: name})
}

func (r *recorder) begin() *recorded {
	r.count++
	name := fmt.Sprintf("%s-%d", r.test, r.count)
	one := &recorded{Name: name, Context: name + "/context", Dockerfile: "Dockerfile"}
	r.cases = append(r.cases, one)
	return one
}

// run writes a command down, if it is a build.
func (r *recorder) run(command icmd.Cmd) *icmd.Result {
	result := &icmd.Result{Cmd: &command, Expect: func(bool) {}}
	words := command.Command
	if len(words) > 1 && words[0] == "xz" { // packs what a context holds
		packing := exec.Command(words[0], words[1:]...)
		packing.Dir = command.Dir
		if said, err := packing.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("xz: %v: %s", err, said))
		}
	}
	for len(words) > 0 && words[0] != "build" {
		words = words[1:]
	}
	if len(words) == 0 {
		return result
	}
	one := r.begin()
	result.Expect = func(fails bool) { one.Fails = &fails }
	if err := r.build(one, command, words[1:]); err != nil {
		one.Needs = err.Error()
	}
	r.name(words)
	return result
}

var from = regexp.MustCompile(`(?mi)^\s*FROM\s+(\S+)`)

// name remembers what a build was called: a later one of the test may start from it.
func (r *recorder) name(words []string) {
	for number, word := range words[1:] {
		if words[number] == "-t" || words[number] == "--tag" {
			r.built[word] = true
		}
	}
}

// check says whether a Dockerfile starts from what was built before.
func (r *recorder) check(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil // builders are asked for it and say so
	}
	for _, match := range from.FindAllSubmatch(content, -1) {
		if r.built[string(match[1])] {
			return errors.New("an image that the test built before")
		}
	}
	return nil
}

var (
	plain   = map[string]string{"--target": "target", "--platform": "platform", "--build-arg": "arg", "--label": "label", "--network": "network"}
	ignored = map[string]bool{"-t": true, "--tag": true, "--rm": false, "--force-rm": false, "--no-cache": false, "-q": false, "--quiet": false, "--progress": true, "--iidfile": true, "--pull": false, "--cache-from": true}
)

// build reads the flags; an error says what a case needs that is not of the Dockerfile's.
func (r *recorder) build(one *recorded, command icmd.Cmd, words []string) error {
	var context, file string
	for len(words) > 0 {
		name, value, joined := strings.Cut(words[0], "=")
		words = words[1:]
		take := func() string {
			if !joined && len(words) > 0 {
				value, words = words[0], words[1:]
			}
			return value
		}
		switch takes, known := ignored[name]; {
		case known && takes:
			take()
		case known:
		case plain[name] != "":
			one.Settings = append(one.Settings, [2]string{plain[name], argument(take(), command.Env)})
		case name == "-f" || name == "--file":
			file = take()
		case name == "-" || !strings.HasPrefix(name, "-"):
			context = name
			if joined {
				context += "=" + value
			}
		default:
			return errors.New("the flag " + name + " of `docker build`")
		}
	}
	if err := r.write(one, command, context, file); err != nil {
		return err
	}
	return r.check(filepath.Join(r.folder, one.Context, one.Dockerfile))
}

// argument gives one without a value that of the command's environment.
func argument(text string, env []string) string {
	for _, variable := range env {
		if !strings.Contains(text, "=") && strings.HasPrefix(variable, text+"=") {
			return variable
		}
	}
	return text
}

func (r *recorder) write(one *recorded, command icmd.Cmd, context, file string) error {
	target := filepath.Join(r.folder, one.Context)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if r.served != "" {
		one.Served = one.Name + "/served"
		if err := copyTree(r.served, filepath.Join(r.folder, one.Served)); err != nil {
			return err
		}
	}
	if context == "-" {
		return fromInput(command, target)
	}
	if strings.Contains(context, "://") {
		return errors.New("a context from a server of the test's own")
	}
	if !filepath.IsAbs(context) {
		context = filepath.Join(command.Dir, context)
	}
	if command.Dir == "" || file == "-" {
		return errors.New("a context and Dockerfile from elsewhere than one folder")
	}
	if file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(command.Dir, file)
		}
		relative, err := filepath.Rel(context, file)
		if err != nil || strings.HasPrefix(relative, "..") {
			return errors.New("a context and Dockerfile from elsewhere than one folder")
		}
		one.Dockerfile = relative
	}
	return copyTree(context, target)
}

// fromInput writes a Dockerfile that came on standard input; an archive there is another matter.
func fromInput(command icmd.Cmd, target string) error {
	if command.Stdin == nil {
		return errors.New("the context as an archive on standard input")
	}
	content, err := io.ReadAll(command.Stdin)
	if err != nil || strings.ContainsRune(string(content), 0) {
		return errors.New("the context as an archive on standard input")
	}
	return os.WriteFile(filepath.Join(target, "Dockerfile"), content, 0o644)
}

func copyTree(source, target string) error {
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	said, err := exec.Command("cp", "-a", source, target).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w", said, err)
	}
	return nil
}
