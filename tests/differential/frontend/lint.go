package main

import (
	"context"
	"io/fs"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	fstypes "github.com/tonistiigi/fsutil/types"
)

type warning struct {
	Rule    string `json:"rule"`
	Message string `json:"message"`
	Start   int    `json:"start"`
	End     int    `json:"end"`
}

type checked struct {
	*failure
	Warnings []warning `json:"warnings"`
}

func check(asked request) any {
	options, err := convertOptions(asked)
	if err != nil {
		return checked{failure: failed(err)}
	}
	options.SourceMap.Definition = &llb.Definition{}
	if asked.Ignore != nil {
		options.Client, err = dockerui.NewClient(gateway{ignore: asked.Ignore})
		if err != nil {
			return checked{failure: failed(err)}
		}
	}
	result, err := dockerfile2llb.DockerfileLint(context.Background(), asked.Source, options)
	if err != nil {
		return checked{failure: failed(err)}
	}
	found := checked{Warnings: []warning{}}
	for _, each := range result.Warnings {
		start, end := lines(each.Location)
		found.Warnings = append(found.Warnings, warning{each.RuleName, each.Detail, start, end})
	}
	if result.Error != nil {
		start, end := lines(&result.Error.Location)
		found.failure = &failure{Error: result.Error.Message, Start: start, End: end}
	}
	return found
}

func lines(place *pb.Location) (start, end int) {
	for _, each := range place.GetRanges() {
		if line := int(each.Start.Line); start == 0 || line < start {
			start = line
		}
		end = max(end, int(each.End.Line))
	}
	return start, end
}

// gateway stands in for BuildKit's daemon: all that its contexts hold is one .dockerignore.
type gateway struct {
	client.Client
	ignore []byte
}

func (g gateway) BuildOpts() client.BuildOpts {
	return client.BuildOpts{
		Opts:    map[string]string{},
		LLBCaps: pb.Caps.CapSet(pb.Caps.All()),
		Caps:    gatewaypb.Caps.CapSet(nil),
	}
}

func (g gateway) Solve(context.Context, client.SolveRequest) (*client.Result, error) {
	result := client.NewResult()
	result.SetRef(folder{ignore: g.ignore})
	return result, nil
}

// folder is a context.
type folder struct {
	client.Reference
	ignore []byte
}

func (f folder) StatFile(context.Context, client.StatRequest) (*fstypes.Stat, error) {
	return &fstypes.Stat{Size: int64(len(f.ignore))}, nil
}

func (f folder) ReadFile(_ context.Context, asked client.ReadRequest) ([]byte, error) {
	if asked.Filename != dockerui.DefaultDockerignoreName {
		return nil, fs.ErrNotExist
	}
	return f.ignore, nil
}
