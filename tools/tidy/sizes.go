package tidy

// Limits of size, with a ratchet. An exception is listed with the size it has and the reason; it may not
// grow, and once it fits the limit its entry must go, so that the list never holds more than is true.
// Test functions are free: a long table of cases is easier to read in one piece.

import (
	"fmt"
	"go/ast"
)

const (
	functionLinesMax = 70  // lines of a function, its signature included; test functions are free
	fileLinesMax     = 800 // lines of a Go file, tests included
)

// large lists what may be larger, up to a size, and why. "path" is a file, "path:Name" or
// "path:Type.Name" a function.
var large = []allowance{}

// allowance is one exception from a limit.
type allowance struct {
	name   string
	lines  int    // what it has now; it may shrink, not grow
	reason string // why splitting it would make it worse
}

// checkSizes finds functions and files over their limit that are not allowed to be, and allowances
// that nothing needs any more.
func checkSizes(t *tree, allowed []allowance) []fault {
	var faults []fault
	limits := make(map[string]int)
	for _, a := range allowed {
		limits[a.name] = a.lines
		if a.reason == "" {
			faults = append(faults, fault{a.name, 1, "is allowed to be large without a reason"})
		}
	}
	needed := make(map[string]bool)
	measure := func(s *source, name string, line, lines, most int) {
		if lines <= most {
			return
		}
		needed[name] = true
		if lines > limits[name] {
			faults = append(faults, fault{s.path, line, fmt.Sprintf("%s has %d lines, the limit is %d", name, lines, max(most, limits[name]))})
		}
	}
	t.parsed(func(s *source) {
		measure(s, s.path, 1, s.lines(), fileLinesMax)
		if s.isTest() {
			return
		}
		for _, decl := range s.file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				first, last := s.line(fn.Pos()), s.line(fn.End())
				measure(s, s.path+":"+functionName(fn), first, last-first+1, functionLinesMax)
			}
		}
	})
	for _, a := range allowed {
		if !needed[a.name] {
			faults = append(faults, fault{a.name, 1, "is allowed to be large and no longer is: remove it from the list"})
		}
	}
	return faults
}

// functionName is "Name" or "Type.Name".
func functionName(fn *ast.FuncDecl) string {
	if receiver := receiverName(fn); receiver != "" {
		return receiver + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// receiverName is the name of a method's type, without pointer and type parameters; "" for a
// function.
func receiverName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	expr := fn.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.ParenExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}
