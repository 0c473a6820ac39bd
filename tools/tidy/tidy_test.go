package tidy

import (
	"os"
	"testing"
)

// TestTree checks the whole checkout.
func TestTree(t *testing.T) {
	root, unparsed, err := loadTree(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(root.sources) < 10 {
		t.Fatalf("found only %d files: is this the root of the tree?", len(root.sources))
	}
	checks := []struct {
		name   string
		faults []fault
	}{
		{"syntax", unparsed},
		{"imports", checkImports(root)},
		{"sizes", checkSizes(root, large)},
		{"openings", checkOpenings(root)},
		{"package comments", checkPackageComments(root)},
		{"exported", checkExported(root)},
		{"texts", checkTexts(root)},
		{"package names", checkPackageNames(root)},
		{"format", checkFormat(root)},
	}
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			for _, f := range check.faults {
				t.Error(f)
			}
		})
	}
}
