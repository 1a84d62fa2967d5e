package main

import (
	"fmt"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// eachByLua runs a script of Argo CD over the objects: `obj` is the object, and what the script returns is the answer.
func eachByLua(kind, file string) error {
	script, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return each(func(object *unstructured.Unstructured) (any, error) { return runLua(kind, string(script), object) })
}

func runLua(kind, script string, object *unstructured.Unstructured) (any, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	if err := openLibraries(state); err != nil {
		return nil, err
	}
	state.SetGlobal("obj", toLua(state, object.Object))
	state.SetGlobal("actionParams", state.NewTable())
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	found := state.Get(-1)
	if found.Type() != lua.LTTable {
		return nil, fmt.Errorf("%s returns a %s, not a table", kind, found.Type())
	}
	return fromLua(found), nil
}

// openLibraries gives what Argo CD gives unless useOpenLibs is set: no io, no debug, and of os the clock alone.
func openLibraries(state *lua.LState) error {
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName:   lua.OpenPackage,
		lua.BaseLibName:   lua.OpenBase,
		lua.TabLibName:    lua.OpenTable,
		lua.StringLibName: lua.OpenString,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return err
		}
	}
	state.PreloadModule(lua.OsLibName, func(s *lua.LState) int {
		clock := s.NewTable()
		s.SetField(clock, "date", s.NewFunction(func(s *lua.LState) int {
			s.Push(lua.LString(time.Now().UTC().Format("2006-01-02T15:04:05Z")))
			return 1
		}))
		s.Push(clock)
		return 1
	})
	return nil
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch it := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, item := range it {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range it {
			table.Append(toLua(state, item))
		}
		return table
	case string:
		return lua.LString(it)
	case bool:
		return lua.LBool(it)
	case int64:
		return lua.LNumber(it)
	case float64:
		return lua.LNumber(it)
	}
	return lua.LNil
}

func fromLua(value lua.LValue) any {
	switch it := value.(type) {
	case *lua.LTable:
		if it.MaxN() > 0 {
			items := make([]any, 0, it.MaxN())
			for index := 1; index <= it.MaxN(); index++ {
				items = append(items, fromLua(it.RawGetInt(index)))
			}
			return items
		}
		fields := answer{}
		it.ForEach(func(key, item lua.LValue) { fields[key.String()] = fromLua(item) })
		return fields
	case lua.LString:
		return string(it)
	case lua.LBool:
		return bool(it)
	case lua.LNumber:
		return float64(it)
	}
	return nil
}
