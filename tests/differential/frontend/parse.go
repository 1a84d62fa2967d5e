package main

import (
	"bytes"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// fields are those of one instruction, by the names that the tests' views of Strata's values have.
type fields map[string]any

type stage struct {
	From         fields   `json:"from"`
	Instructions []fields `json:"instructions"`
}

type parsed struct {
	*failure
	Escape   string   `json:"escape,omitempty"`
	MetaArgs []fields `json:"meta_args,omitempty"`
	Stages   []stage  `json:"stages,omitempty"`
}

func parse(asked request) any {
	file, err := parser.Parse(bytes.NewReader(asked.Source))
	if err != nil {
		return parsed{failure: failed(err)}
	}
	stages, args, err := instructions.Parse(file.AST, linter.New(&linter.Config{}))
	if err != nil {
		return parsed{failure: failed(err)}
	}
	reader := reader{shell.NewLex(file.EscapeToken), shell.EnvsFromSlice(asked.Env)}
	found := parsed{Escape: string(file.EscapeToken)}
	for i := range args {
		found.MetaArgs = append(found.MetaArgs, placed(&args[i], argFields(args[i].Args)))
	}
	for i := range stages {
		found.Stages = append(found.Stages, reader.stage(&stages[i]))
	}
	return found
}

// reader expands instructions as the frontend does, with one environment for all of them.
type reader struct {
	lex *shell.Lex
	env shell.EnvGetter
}

func (r reader) stage(from *instructions.Stage) stage {
	start, end := span(from.Location)
	found := stage{From: fields{
		"keyword": "FROM", "start": start, "end": end,
		"image": from.BaseName, "name": from.Name, "platform": from.Platform,
	}}
	for _, command := range from.Commands {
		found.Instructions = append(found.Instructions, r.instruction(command))
	}
	return found
}

func (r reader) instruction(command instructions.Command) fields {
	raw := placed(command, view(command))
	if err := r.expand(command); err != nil {
		raw["resolved"] = fields{"error": err.Error()}
	} else {
		raw["resolved"] = view(command)
	}
	return raw
}

func (r reader) expand(command instructions.Command) error {
	if each, ok := command.(instructions.SupportsSingleWordExpansion); ok {
		if err := each.Expand(r.word); err != nil {
			return err
		}
	}
	if each, ok := command.(instructions.SupportsSingleWordExpansionRaw); ok {
		return each.ExpandRaw(r.body)
	}
	if each, ok := command.(*instructions.ExposeCommand); ok {
		return r.ports(each)
	}
	return nil
}

func (r reader) word(word string) (string, error) {
	found, _, err := r.lex.ProcessWord(word, r.env)
	return found, err
}

func (r reader) body(body string) (string, error) {
	lex := shell.NewLex('\\')
	lex.SkipProcessQuotes = true
	found, _, err := lex.ProcessWord(body, r.env)
	return found, err
}

func (r reader) ports(expose *instructions.ExposeCommand) error {
	found := []string{}
	for _, port := range expose.Ports {
		words, err := r.lex.ProcessWords(port, r.env)
		if err != nil {
			return err
		}
		found = append(found, words...)
	}
	expose.Ports = found
	return nil
}

func expand(asked request) any {
	type expansion struct {
		Result string   `json:"result"`
		Words  []string `json:"words"`
		Error  string   `json:"error,omitempty"`
	}
	env := shell.EnvsFromSlice(asked.Env)
	found := make([]expansion, len(asked.Words))
	for i, word := range asked.Words {
		lex := shell.NewLex([]rune(asked.Escape)[0])
		one, err := lex.ProcessWordWithMatches(word, env)
		if err != nil {
			found[i] = expansion{Error: err.Error()}
			continue
		}
		words, err := lex.ProcessWords(word, env)
		if err != nil {
			found[i] = expansion{Error: err.Error()}
			continue
		}
		found[i] = expansion{Result: one.Result, Words: words}
	}
	return found
}
