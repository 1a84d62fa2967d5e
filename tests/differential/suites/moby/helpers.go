package main

// What the tests use of other files of their package: what docker would answer, where they go on without it.

import (
	"context"
	"time"

	"strata.build/tests/differential/suites/moby/stubs/testing"
)

// DockerSuite is what the suites are set up by.
type DockerSuite struct{}

func (*DockerSuite) TearDownTest(context.Context, *testing.T) {}
func (*DockerSuite) OnTimeout(*testing.T)                     {}

// Suites of other matters, whose tests are left out.
type (
	DockerRegistrySuite             struct{}
	DockerRegistryAuthHtpasswdSuite struct{ reg *registry }
	registry                        struct{}
)

func (*registry) Username() string { return "" }
func (*registry) Password() string { return "" }

const (
	dockerBinary       = "docker"
	expectedFileChmod  = "-rw-r--r--"
	privateRegistryURL = "127.0.0.1:5000"
)

// environment is the daemon that the tests believe to have.
type environment struct {
	DaemonInfo       struct{ OSType, DockerRootDir string }
	PlatformDefaults struct{ BaseImage string }
	UsingSnapshotter bool
	IsLocal          bool
}

func (*environment) IsLocalDaemon() bool      { return false }
func (*environment) DaemonAPIVersion() string { return "1.52" }

var testEnv = newEnvironment()

func newEnvironment() *environment {
	made := &environment{}
	made.DaemonInfo.OSType, made.DaemonInfo.DockerRootDir = "linux", "/var/lib/docker"
	made.PlatformDefaults.BaseImage = "scratch"
	return made
}

// testRequires ends a test that is for something else than a daemon on Linux.
func testRequires(t *testing.T, conditions ...func() bool) {
	for _, holds := range conditions {
		if !holds() {
			t.Skip()
		}
	}
}

func DaemonIsLinux() bool                { return true }
func DaemonIsWindows() bool              { return false }
func NotUserNamespace() bool             { return true }
func UnixCli() bool                      { return true }
func Network() bool                      { return true }
func TODOBuildkit() bool                 { return true }
func onlyCgroupsv2() bool                { return true }
func containerdSnapshotterEnabled() bool { return true }

func minimalBaseImage() string                                  { return testEnv.PlatformDefaults.BaseImage }
func getIDByName(*testing.T, string) string                     { return "" }
func inspectField(*testing.T, string, string) string            { return "" }
func inspectFieldJSON(*testing.T, string, string) string        { return "" }
func inspectFieldAndUnmarshall(*testing.T, string, string, any) {}
func getContainerCount(*testing.T) int                          { return 0 }
func daemonUnixTime(*testing.T) string                          { return time.Unix(0, 0).String() }
func getLongPathName(path string) (string, error)               { return path, nil }

func ParseCgroupPaths(string) map[string]string { return nil }

func eventActionsByIDAndType(*testing.T, []string, string, string) []string { return nil }
