package schema

// Protobuf schemas: the text of a .proto file, which protocompile compiles, or a FileDescriptorSet, as protoc writes it. Nothing can be
// imported but the files of google/protobuf/, so that no schema makes the server read anything.
//
// Either way the result are descriptors of google.golang.org/protobuf; the walk needs of them a table of fields per message.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/types/known/anypb" // the files that may be imported
	_ "google.golang.org/protobuf/types/known/apipb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/sourcecontextpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/typepb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	protoFileName = "schema.proto"
	protoBundled  = "google/protobuf/"
)

// protoSchema is a file of messages.
type protoSchema struct {
	main    protoreflect.FileDescriptor // whose messages message indexes count
	files   []protoreflect.FileDescriptor
	message protoreflect.MessageDescriptor // nil if none is named and there are several
	types   *dynamicpb.Types
}

// parseProto reads a schema. It is an error if a message is named that it does not have.
func parseProto(s Schema) (p *protoSchema, err error) {
	defer guard(&err)
	if len(s.Text)+len(s.DescriptorSet) > textBytesMax {
		return nil, fmt.Errorf("the Protobuf schema is over %d bytes", textBytesMax)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if len(s.DescriptorSet) > 0 {
		if err = proto.Unmarshal(s.DescriptorSet, set); err != nil {
			return nil, fmt.Errorf("the FileDescriptorSet: %w", err)
		}
		if len(set.File) == 0 {
			return nil, errors.New("the FileDescriptorSet has no file")
		}
	} else if set.File, err = compileProtoText(string(s.Text)); err != nil {
		return nil, err
	}
	return linkProto(set, s.Message)
}

// compileProtoText compiles a .proto file.
func compileProtoText(text string) ([]*descriptorpb.FileDescriptorProto, error) {
	if err := checkProtoShape(text); err != nil {
		return nil, err
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: protocompile.SourceAccessorFromMap(map[string]string{protoFileName: text}),
		}),
		MaxParallelism: 1,
		Reporter:       reporter.NewReporter(nil, func(reporter.ErrorWithPos) {}), // the first error ends it
	}
	files, err := compiler.Compile(context.Background(), protoFileName)
	if err != nil {
		return nil, fmt.Errorf("the Protobuf schema: %w", shortened(err))
	}
	return []*descriptorpb.FileDescriptorProto{protoutil.ProtoFromFileDescriptor(files[0])}, nil
}

// checkProtoShape refuses texts whose braces and brackets nest deeper than any schema's, because compilers recurse, and those with very
// long lines: the compiler finds its place in a line by going through it, again and again (256 KiB of names in one line took it 17 s).
func checkProtoShape(text string) error {
	depth, line := 0, 0
	for _, c := range []byte(text) {
		if line++; line > protoLineBytesMax {
			return fmt.Errorf("a line of the Protobuf schema is over %d bytes", protoLineBytesMax)
		}
		switch c {
		case '\n':
			line = 0
		case '{', '[', '<', '(':
			if depth++; depth > depthMax {
				return fmt.Errorf("the Protobuf schema nests over %d levels", depthMax)
			}
		case '}', ']', '>', ')':
			depth = max(depth-1, 0)
		}
	}
	return nil
}

// shortened is an error whose text may quote what somebody sent.
func shortened(err error) error {
	if text := err.Error(); len(text) > errorBytesMax {
		return errors.New(strings.ToValidUTF8(text[:errorBytesMax], "") + "…")
	}
	return err
}

// linkProto makes descriptors, with the bundled files where the set imports but does not have them. Those of a set's own are replaced, so that
// a Timestamp is one.
func linkProto(set *descriptorpb.FileDescriptorSet, message string) (*protoSchema, error) {
	own := len(set.File)
	for i, f := range set.File {
		if bundled, err := protoregistry.GlobalFiles.FindFileByPath(f.GetName()); err == nil && strings.HasPrefix(f.GetName(), protoBundled) {
			set.File[i] = protodesc.ToFileDescriptorProto(bundled)
		}
	}
	for i := 0; i < len(set.File); i++ {
		for _, path := range set.File[i].Dependency {
			if slices.ContainsFunc(set.File, func(f *descriptorpb.FileDescriptorProto) bool { return f.GetName() == path }) {
				continue
			}
			bundled, err := protoregistry.GlobalFiles.FindFileByPath(path)
			if err != nil || !strings.HasPrefix(path, protoBundled) {
				return nil, fmt.Errorf("the Protobuf schema imports %q, which is not in it", path)
			}
			set.File = append(set.File, protodesc.ToFileDescriptorProto(bundled))
		}
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("the Protobuf schema: %w", shortened(err))
	}
	p := &protoSchema{types: dynamicpb.NewTypes(files)}
	for _, f := range set.File[:own] {
		file, err := files.FindFileByPath(f.GetName())
		if err != nil {
			return nil, fmt.Errorf("the Protobuf schema: %w", err)
		}
		if !strings.HasPrefix(file.Path(), protoBundled) {
			p.files = append(p.files, file)
			p.main = file // the last one: those that it imports come first
		}
	}
	if p.main == nil {
		return nil, errors.New("the Protobuf schema has only bundled files")
	}
	p.message, err = p.choose(message)
	return p, err
}

// choose finds the message that is meant: nil if none is named and there are several.
func (p *protoSchema) choose(name string) (protoreflect.MessageDescriptor, error) {
	var found []protoreflect.MessageDescriptor
	for _, f := range p.files {
		found = appendNamed(found, f.Messages(), name)
	}
	if name == "" {
		found = nil
		if all := p.main.Messages(); all.Len() == 1 {
			found = append(found, all.Get(0))
		} else if all.Len() > 1 {
			return nil, nil // whoever needs one says so
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("the Protobuf schema has no message %q", name)
	case len(found) > 1:
		return nil, fmt.Errorf("the Protobuf schema has several messages %q: give the full name", name)
	}
	return found[0], nil
}

// appendNamed appends the messages with that full or short name, at every depth.
func appendNamed(found []protoreflect.MessageDescriptor, in protoreflect.MessageDescriptors, name string) []protoreflect.MessageDescriptor {
	for i := range in.Len() {
		m := in.Get(i)
		if (string(m.FullName()) == name || string(m.Name()) == name) && !m.IsMapEntry() {
			found = append(found, m)
		}
		found = appendNamed(found, m.Messages(), name)
	}
	if i := slices.IndexFunc(found, func(m protoreflect.MessageDescriptor) bool { return string(m.FullName()) == name }); i >= 0 {
		return found[i : i+1]
	}
	return found
}

// indexed finds the message that Confluent's message indexes lead to.
func (p *protoSchema) indexed(indexes []int) (protoreflect.MessageDescriptor, bool) {
	var m protoreflect.MessageDescriptor
	in := p.main.Messages()
	for _, i := range indexes {
		if i < 0 || i >= in.Len() {
			return nil, false
		}
		m = in.Get(i)
		in = m.Messages()
	}
	return m, m != nil
}
