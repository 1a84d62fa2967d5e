package main

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

func placed(command instructions.Command, found fields) fields {
	start, end := span(command.Location())
	found["keyword"] = strings.ToUpper(command.Name())
	found["start"], found["end"] = start, end
	return found
}

// view is an instruction as plain values.
func view(command instructions.Command) fields {
	switch each := command.(type) {
	case *instructions.AddCommand:
		return mergeFields(paths(&each.SourcesAndDest), fields{
			"chown": each.Chown, "chmod": each.Chmod, "link": each.Link, "exclude": list(each.ExcludePatterns),
			"checksum": each.Checksum, "keep_git_dir": each.KeepGitDir, "unpack": each.Unpack,
		})
	case *instructions.CopyCommand:
		return mergeFields(paths(&each.SourcesAndDest), fields{
			"chown": each.Chown, "chmod": each.Chmod, "link": each.Link, "exclude": list(each.ExcludePatterns),
			"from": each.From, "parents": each.Parents,
		})
	case *instructions.RunCommand:
		return mergeFields(commandLine(&each.ShellDependantCmdLine), fields{
			"mounts": mounts(each), "network": instructions.GetNetwork(each), "security": instructions.GetSecurity(each),
		})
	case *instructions.CmdCommand:
		return commandLine(&each.ShellDependantCmdLine)
	case *instructions.EntrypointCommand:
		return commandLine(&each.ShellDependantCmdLine)
	case *instructions.ArgCommand:
		return argFields(each.Args)
	case *instructions.EnvCommand:
		return fields{"pairs": pairs(each.Env)}
	case *instructions.LabelCommand:
		return fields{"pairs": pairs(each.Labels)}
	case *instructions.HealthCheckCommand:
		return health(each)
	default:
		return small(command)
	}
}

func small(command instructions.Command) fields {
	switch each := command.(type) {
	case *instructions.MaintainerCommand:
		return fields{"name": each.Maintainer}
	case *instructions.OnbuildCommand:
		return fields{"trigger": each.Expression}
	case *instructions.WorkdirCommand:
		return fields{"path": each.Path}
	case *instructions.ExposeCommand:
		sorted := slices.Sorted(slices.Values(each.Ports))
		return fields{"ports": list(sorted)}
	case *instructions.UserCommand:
		return fields{"user": each.User}
	case *instructions.VolumeCommand:
		return fields{"paths": list(slices.Clone(each.Volumes))}
	case *instructions.StopSignalCommand:
		return fields{"signal": each.Signal}
	case *instructions.ShellCommand:
		return fields{"argv": list(each.Shell)}
	default:
		return fields{"unknown": command.Name()}
	}
}

func mergeFields(into, from fields) fields {
	for name, value := range from {
		into[name] = value
	}
	return into
}

func list(values []string) []string {
	if values == nil {
		return []string{}
	}
	return values
}

func paths(given *instructions.SourcesAndDest) fields {
	inline := []fields{}
	for _, each := range given.SourceContents {
		inline = append(inline, fields{"name": each.Path, "content": []byte(each.Data)})
	}
	return fields{"sources": list(slices.Clone(given.SourcePaths)), "dest": given.DestPath, "inline": inline}
}

func commandLine(given *instructions.ShellDependantCmdLine) fields {
	files := []fields{}
	for _, each := range given.Files {
		files = append(files, fields{"name": each.Name, "content": []byte(each.Data), "chomp": each.Chomp})
	}
	return fields{"shell": given.PrependShell, "argv": list(given.CmdLine), "files": files}
}

func argFields(args []instructions.KeyValuePairOptional) fields {
	found := [][]*string{}
	for _, each := range args {
		found = append(found, []*string{&each.Key, each.Value})
	}
	return fields{"pairs": found}
}

func pairs(given instructions.KeyValuePairs) [][]string {
	found := [][]string{}
	for _, each := range given {
		found = append(found, []string{each.Key, each.Value})
	}
	return found
}

func health(given *instructions.HealthCheckCommand) fields {
	return fields{
		"test": list(given.Health.Test), "interval": given.Health.Interval, "timeout": given.Health.Timeout,
		"start_period": given.Health.StartPeriod, "start_interval": given.Health.StartInterval,
		"retries": given.Health.Retries,
	}
}

func mounts(run *instructions.RunCommand) []fields {
	found := []fields{}
	for _, each := range instructions.GetMounts(run) {
		found = append(found, fields{
			"type": each.Type, "from": each.From, "source": each.Source, "target": each.Target,
			"readonly": each.ReadOnly, "size": each.SizeLimit, "id": each.CacheID, "sharing": each.CacheSharing,
			"required": each.Required, "env": each.Env, "mode": each.Mode, "uid": each.UID, "gid": each.GID,
		})
	}
	return found
}
