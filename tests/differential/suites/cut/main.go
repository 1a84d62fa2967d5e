// Takes declarations out of a Go source file, with the imports that they need, as a file of package main.
//
//	cut -file FILE -module PREFIX [-stub IMPORT=NAME]... [NAME...]
//
// A package of an import that is stubbed becomes PREFIX/stubs/NAME. What the declarations refer to in the same file is
// taken, too; without names everything is.
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path"
	"strconv"
	"strings"
)

type stubs map[string]string

func (s stubs) String() string { return fmt.Sprint(map[string]string(s)) }

func (s stubs) Set(value string) error {
	of, name, found := strings.Cut(value, "=")
	if !found {
		return fmt.Errorf("%q is not IMPORT=NAME", value)
	}
	s[of] = name
	return nil
}

func main() {
	stubbed := stubs{}
	file := flag.String("file", "", "the source file")
	module := flag.String("module", "", "the module with the stubs")
	flag.Var(stubbed, "stub", "IMPORT=NAME, a package to replace")
	flag.Parse()
	if err := cut(*file, *module, stubbed, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "cut:", err)
		os.Exit(1)
	}
}

func cut(file, module string, stubbed stubs, names []string) error {
	source, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, source, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	taken, used, err := chosen(parsed, names)
	if err != nil {
		return err
	}
	text := func(node ast.Node) string {
		return string(source[set.Position(node.Pos()).Offset:set.Position(node.End()).Offset])
	}
	var out strings.Builder
	out.WriteString("package main\n\nimport (\n")
	for _, spec := range parsed.Imports {
		out.WriteString(importLine(spec, module, stubbed, used))
	}
	out.WriteString(")\n\n")
	for _, piece := range pieces(parsed, taken) {
		out.WriteString(piece.keyword + text(piece.node) + "\n\n")
	}
	formatted, err := format.Source([]byte(out.String()))
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(formatted)
	return err
}

// importLine is the line of an import that is used, else empty.
func importLine(spec *ast.ImportSpec, module string, stubbed stubs, used map[string]bool) string {
	of, _ := strconv.Unquote(spec.Path.Value)
	name := path.Base(of)
	if spec.Name != nil {
		name = spec.Name.Name
	}
	if stub, found := stubbed[of]; found {
		if spec.Name == nil {
			name = stub
		}
		of = module + "/stubs/" + stub
	}
	if !used[name] {
		return ""
	}
	return fmt.Sprintf("\t%s %q\n", name, of)
}

// piece is a declaration's node; a specification of a group needs the group's keyword before it.
type piece struct {
	keyword string
	node    ast.Node
}

// declarations are the nodes of a file by the names that they declare; methods are left out.
func declarations(file *ast.File) map[string]ast.Node {
	found := map[string]ast.Node{}
	for _, declaration := range file.Decls {
		switch node := declaration.(type) {
		case *ast.FuncDecl:
			if node.Recv == nil {
				found[node.Name.Name] = node
			}
		case *ast.GenDecl:
			for _, spec := range node.Specs {
				for _, name := range specified(spec) {
					found[name] = spec
				}
			}
		}
	}
	return found
}

func specified(spec ast.Spec) []string {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		return []string{spec.Name.Name}
	case *ast.ValueSpec:
		names := []string{}
		for _, name := range spec.Names {
			names = append(names, name.Name)
		}
		return names
	}
	return nil
}

// chosen is what the names ask for.
func chosen(file *ast.File, names []string) (map[ast.Node]bool, map[string]bool, error) {
	if len(names) > 0 {
		return closure(declarations(file), names)
	}
	taken, used := map[ast.Node]bool{}, map[string]bool{}
	for _, declaration := range file.Decls {
		taken[declaration] = true
		if group, ok := declaration.(*ast.GenDecl); ok {
			for _, spec := range group.Specs {
				taken[spec] = group.Tok != token.IMPORT
			}
		}
		ast.Inspect(declaration, func(node ast.Node) bool {
			if selector, ok := node.(*ast.SelectorExpr); ok {
				if of, ok := selector.X.(*ast.Ident); ok {
					used[of.Name] = true
				}
			}
			return true
		})
	}
	return taken, used, nil
}

// closure is `names` and all declarations that they need, and every identifier seen on the way.
func closure(declared map[string]ast.Node, names []string) (map[ast.Node]bool, map[string]bool, error) {
	taken, used := map[ast.Node]bool{}, map[string]bool{}
	for _, name := range names {
		if declared[name] == nil {
			return nil, nil, fmt.Errorf("nothing is called %s", name)
		}
	}
	for waiting := names; len(waiting) > 0; {
		node := declared[waiting[0]]
		waiting = waiting[1:]
		if node == nil || taken[node] {
			continue
		}
		taken[node] = true
		ast.Inspect(node, func(inner ast.Node) bool {
			if identifier, ok := inner.(*ast.Ident); ok {
				used[identifier.Name] = true
				waiting = append(waiting, identifier.Name)
			}
			return true
		})
	}
	return taken, used, nil
}

// pieces are the taken declarations in the order of the file.
func pieces(file *ast.File, taken map[ast.Node]bool) []piece {
	found := []piece{}
	for _, declaration := range file.Decls {
		switch node := declaration.(type) {
		case *ast.FuncDecl:
			if taken[node] {
				found = append(found, piece{"", node})
			}
		case *ast.GenDecl:
			for _, spec := range node.Specs {
				if taken[spec] {
					found = append(found, piece{node.Tok.String() + " ", spec})
				}
			}
		}
	}
	return found
}
