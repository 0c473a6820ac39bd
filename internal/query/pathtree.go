package query

// The paths that a decoder looks for, as a tree of names: so a format walks a message and the tree together, and a message's
// field is looked up once, however many paths lead through it.

import (
	"slices"
	"strconv"
)

// PathTree is a node of the tree, a name; the root has none. It does not change once it is made.
type PathTree struct {
	Name     string
	Index    int   // Name as an index of an array, -1 if it is none
	Here     []int // places, in the list of paths, of those that end here
	Below    []int // of all that end here or further down
	Children []*PathTree
}

// NewPathTree makes the tree of these paths.
func NewPathTree(paths []Path) *PathTree {
	root := &PathTree{Index: -1}
	for i, path := range paths {
		root.add(path, i)
	}
	return root
}

func (n *PathTree) add(path Path, place int) {
	n.Below = append(n.Below, place)
	if len(path) == 0 {
		n.Here = append(n.Here, place)
		return
	}
	child := n.Member([]byte(path[0]))
	if child == nil {
		child = &PathTree{Name: path[0], Index: arrayIndex(path[0])}
		n.Children = append(n.Children, child)
	}
	child.add(path[1:], place)
}

// arrayIndex is what a name says as an index, -1 where it is not written as one.
func arrayIndex(name string) int {
	i, err := strconv.Atoi(name)
	if err != nil || i < 0 || strconv.Itoa(i) != name {
		return -1
	}
	return i
}

// Member is the child of that name, nil if no path leads there.
func (n *PathTree) Member(name []byte) *PathTree {
	for _, c := range n.Children {
		if string(name) == c.Name {
			return c
		}
	}
	return nil
}

// Element is the child of an index, nil if no path leads there.
func (n *PathTree) Element(index int) *PathTree {
	if i := slices.IndexFunc(n.Children, func(c *PathTree) bool { return c.Index == index }); i >= 0 {
		return n.Children[i]
	}
	return nil
}
