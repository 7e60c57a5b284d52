package content

import (
	"fmt"
	"strings"
)

// maxProblems are kept by one Parse; the rest is counted.
const maxProblems = 100

// Problem is one thing wrong with one manifest, and what to do about it.
type Problem struct {
	File string `json:"file,omitempty"`
	// Document counts the documents of the file that hold anything, from 1;
	// Line is where it starts.
	Document int `json:"document,omitempty"`
	Line     int `json:"line,omitempty"`
	// Object is "Kind/name", with " in NAMESPACE" when it has one.
	Object  string `json:"object,omitempty"`
	Message string `json:"message"`
}

// String is "FILE, document 2 (line 14), Deployment/web in shop: MESSAGE".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Document > 0 {
		fmt.Fprintf(&b, ", document %d (line %d)", p.Document, p.Line)
	}
	if p.Object != "" {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.Object)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Error is every problem found, so that a person mends all in one go.
type Error struct {
	Problems []Problem
	// More counts problems beyond those listed.
	More int
}

// Error has one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.More))
	}
	return strings.Join(lines, "\n")
}

func (e *Error) add(p Problem) {
	if len(e.Problems) >= maxProblems {
		e.More++
		return
	}
	e.Problems = append(e.Problems, p)
}

func (e *Error) orNil() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}

// place is where a manifest was found.
type place struct {
	file           string
	document, line int
}

func (p place) problem(object, format string, args ...any) Problem {
	return Problem{File: p.file, Document: p.document, Line: p.line, Object: object, Message: fmt.Sprintf(format, args...)}
}

func (p place) String() string {
	return fmt.Sprintf("%s, document %d (line %d)", p.file, p.document, p.line)
}
