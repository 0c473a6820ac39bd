package tidy

// The rules about comments: what a file opens with, that a package says what it is, that what others
// use is documented. Internal packages may leave an identifier bare where its name says it all, public
// ones may not, not even a String. Whether a comment is worth reading is for the reviewer.

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
)

const (
	openingFromLines = 80 // a longer file opens with an essay
	openingLinesMin  = 3
)

// checkOpenings finds long files that do not begin by saying what they are.
func checkOpenings(t *tree) []fault {
	var faults []fault
	t.parsed(func(s *source) {
		if s.isTest() || s.lines() <= openingFromLines {
			return
		}
		if n := openingLines(s); n < openingLinesMin {
			faults = append(faults, fault{s.path, 1, fmt.Sprintf("%d lines, and opens with a comment of %d: want %d or more",
				s.lines(), n, openingLinesMin)})
		}
	})
	return faults
}

// openingLines returns the lines of the longest comment that opens the file: the package comment, an
// essay below the package clause, or the comment of the first declaration, which in a file about one
// thing says what that thing is.
func openingLines(s *source) int {
	end := s.file.End()
	for _, decl := range s.file.Decls {
		if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
			continue
		}
		end = decl.Pos() // which is behind its own comment
		break
	}
	longest := 0
	for _, group := range s.file.Comments {
		if group.Pos() < end {
			longest = max(longest, textLines(s, group))
		}
	}
	return longest
}

// textLines counts the lines of a comment that a reader sees; build constraints and other
// directives have none.
func textLines(s *source, group *ast.CommentGroup) int {
	if group.Text() == "" {
		return 0
	}
	return s.line(group.End()) - s.line(group.Pos()) + 1
}

// checkPackageComments finds packages in which no file has a package comment.
func checkPackageComments(t *tree) []fault {
	documented := make(map[string]bool)
	t.parsed(func(s *source) {
		if !s.isTest() {
			documented[s.dir()] = documented[s.dir()] || s.file.Doc.Text() != ""
		}
	})
	var faults []fault
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		if !documented[dir] {
			faults = append(faults, fault{path.Join(dir, "doc.go"), 1, "the package has no comment"})
		}
	}
	return faults
}

// checkExported finds exported identifiers of public packages without a comment.
func checkExported(t *tree) []fault {
	var faults []fault
	t.parsed(func(s *source) {
		if s.isTest() || !s.isPublic() {
			return
		}
		for _, decl := range s.file.Decls {
			for _, name := range undocumented(s, decl) {
				faults = append(faults, fault{s.path, s.line(name.Pos()), name.Name + " is exported and has no comment"})
			}
		}
	})
	return faults
}

// undocumented returns the exported names of a declaration that no comment covers.
func undocumented(s *source, decl ast.Decl) []*ast.Ident {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		receiver := receiverName(d)
		if d.Doc == nil && d.Name.IsExported() && (receiver == "" || ast.IsExported(receiver)) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		if d.Tok == token.TYPE {
			return undocumentedTypes(d)
		}
		return undocumentedValues(s, d)
	}
	return nil
}

// undocumentedTypes looks into a type declaration; a comment on a group does not cover the types in it.
func undocumentedTypes(d *ast.GenDecl) []*ast.Ident {
	var names []*ast.Ident
	for _, spec := range d.Specs {
		t, ok := spec.(*ast.TypeSpec)
		if !ok || !t.Name.IsExported() {
			continue
		}
		if t.Doc == nil && t.Comment == nil && (d.Doc == nil || d.Lparen.IsValid()) {
			names = append(names, t.Name)
		}
	}
	return names
}

// undocumentedValues looks into a const or var declaration. A comment covers its whole group, or the run
// of lines right below it.
func undocumentedValues(s *source, d *ast.GenDecl) []*ast.Ident {
	if d.Doc != nil {
		return nil
	}
	var names []*ast.Ident
	coveredLine := 0 // the last line of the run below a comment
	for _, spec := range d.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		if v.Doc != nil || s.line(v.Pos()) == coveredLine+1 {
			coveredLine = s.line(v.End())
		} else if v.Comment == nil {
			names = append(names, exported(v.Names)...)
		}
	}
	return names
}

func exported(names []*ast.Ident) []*ast.Ident {
	return slices.DeleteFunc(slices.Clone(names), func(n *ast.Ident) bool { return !n.IsExported() })
}
