package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"ayder/internal/record"
)

// register has a schema registered, without waiting for it.
func (w *world) register(sc Schema) Registration {
	w.t.Helper()
	got, err := w.coordinator().RegisterSchema(w.opener(), &sc)
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

// sampleSchemas has schemas of all kinds.
func sampleSchemas(t testing.TB) *world {
	w := newWorld(t, Config{})
	w.register(Schema{Type: SchemaAvro, Text: `{"type":"string"}`})
	w.register(Schema{Type: SchemaProto, Text: "message M {}", Message: "M"})
	w.commit()
	w.topic("t", 1)
	w.register(Schema{Type: SchemaProto, DescriptorSet: []byte{1, 2, 3}, Message: "a.b.C"})
	w.commit()
	return w
}

func TestSchemasHaveIDs(t *testing.T) {
	w := newWorld(t, Config{Shards: 3})
	b := w.open[CatalogueShard]
	a, p := Schema{Type: SchemaAvro, Text: "x"}, Schema{Type: SchemaProto, Text: "x"}
	if got := w.register(a); got != (Registration{1, true, b}) {
		t.Fatalf("first: %+v", got)
	}
	if got := w.register(p); got != (Registration{2, true, b}) {
		t.Fatalf("the same text of another type: %+v", got)
	}
	if got := w.register(a); got != (Registration{1, false, b}) {
		t.Fatalf("again, in flight: %+v", got)
	}
	if w.e.SchemaByID(1) != nil || len(w.e.Schemas()) > 0 {
		t.Fatal("there before it is durable")
	}
	w.commit()
	if got := w.register(p); got != (Registration{2, false, nil}) || !w.open[CatalogueShard].Empty() {
		t.Fatalf("again, applied: %+v", got)
	}
	if sc := w.e.SchemaByID(2); sc == nil || sc.Type != SchemaProto || sc.Text != "x" || sc.ID != 2 {
		t.Fatalf("%+v", sc)
	}
	for _, id := range []uint32{0, 3, 1<<32 - 1} {
		if sc := w.e.SchemaByID(id); sc != nil {
			t.Fatalf("id %d: %+v", id, sc)
		}
	}
	// What differs in anything is another schema.
	for i, sc := range []Schema{
		{Type: SchemaProto, Text: "x", Message: "M"},
		{Type: SchemaProto, DescriptorSet: []byte("x")},
		{Type: SchemaProto, Text: "x", DescriptorSet: []byte("x")},
		{Type: SchemaProto, Message: "x", DescriptorSet: []byte("x")},
	} {
		if got := w.register(sc); got.ID != uint32(i)+3 {
			t.Fatalf("%+v: %+v", sc, got)
		}
	}
}

func TestSchemasThatMayNotBe(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	large := strings.Repeat("x", SchemaBytesMax)
	for name, c := range map[string]struct {
		sc   Schema
		want error
	}{
		"type":        {Schema{Type: "json", Text: "x"}, ErrSchemaType},
		"no type":     {Schema{Text: "x"}, ErrSchemaType},
		"empty":       {Schema{Type: SchemaAvro}, ErrSchemaSize},
		"large":       {Schema{Type: SchemaAvro, Text: large + "x"}, ErrSchemaSize},
		"together":    {Schema{Type: SchemaProto, Text: large, DescriptorSet: []byte("x")}, ErrSchemaSize},
		"long name":   {Schema{Type: SchemaProto, Text: "x", Message: strings.Repeat("x", SchemaNameBytesMax+1)}, ErrSchemaSize},
		"as large as": {Schema{Type: SchemaProto, Text: large, Message: strings.Repeat("x", SchemaNameBytesMax)}, nil},
	} {
		if _, err := w.coordinator().RegisterSchema(w.opener(), &c.sc); err != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := errors.New("full")
	if _, err := w.coordinator().RegisterSchema(func(int) (*record.Batch, error) { return nil, full }, &Schema{Type: SchemaAvro, Text: "y"}); err != full {
		t.Fatal(err)
	}
	if got := w.register(Schema{Type: SchemaAvro, Text: "y"}); got.ID != 2 {
		t.Fatalf("the id of a schema that found no batch is lost: %+v", got)
	}
	mustPanic(t, "another shard", func() { _, _ = w.e.Shard(1).RegisterSchema(w.opener(), &Schema{Type: SchemaAvro, Text: "y"}) })
}

func TestSchemaLimits(t *testing.T) {
	w := newWorld(t, Config{})
	large := strings.Repeat("x", SchemaBytesMax-5)
	n := 0
	for ; ; n++ {
		if n%16 == 0 {
			w.commit() // some in flight, some applied: both count
		}
		_, err := w.coordinator().RegisterSchema(w.opener(), &Schema{Type: SchemaAvro, Text: fmt.Sprintf("%05d%s", n, large)})
		if err == ErrSchemaLimit {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := SchemasTotalBytes / (SchemaBytesMax + schemaHeadBytes); n != want {
		t.Fatalf("%d schemas fit, want %d", n, want)
	}
	w = newWorld(t, Config{})
	for i := range SchemasMax {
		if w.register(Schema{Type: SchemaAvro, Text: fmt.Sprint(i)}); i%3000 == 0 {
			w.commit()
		}
	}
	if _, err := w.coordinator().RegisterSchema(w.opener(), &Schema{Type: SchemaAvro, Text: "one more"}); err != ErrSchemaLimit {
		t.Fatal(err)
	}
	w.commit()
	if sc := w.e.SchemaByID(SchemasMax); sc == nil || sc.Text != fmt.Sprint(SchemasMax-1) {
		t.Fatalf("%+v", sc)
	}
	sameState(t, w.e, w.recovered(Config{Shards: 2}, w.checkpoint(), len(w.frames)))
}

// What leadership was lost with has no id; what another leader gave it to keeps it.
func TestSchemasInFlightAreForgotten(t *testing.T) {
	w := newWorld(t, Config{})
	w.register(Schema{Type: SchemaAvro, Text: "lost"})
	b := w.open[0]
	w.coordinator().Forget()
	w.open[0] = w.newBatch()
	if got := w.register(Schema{Type: SchemaAvro, Text: "other"}); got.ID != 1 || !got.Made {
		t.Fatalf("%+v", got)
	}
	w.coordinator().Forget()
	w.open[0] = b // committed after all
	w.append(0)
	if err := w.coordinator().ApplyCommitted(w.frame(1)); err != nil {
		t.Fatal(err)
	}
	w.flying[0] = nil
	if got := w.register(Schema{Type: SchemaAvro, Text: "lost"}); got != (Registration{1, false, nil}) {
		t.Fatalf("%+v", got)
	}
	if got := w.register(Schema{Type: SchemaAvro, Text: "other"}); got.ID != 2 || !got.Made {
		t.Fatalf("%+v", got)
	}
}

func TestSchemasAfterACheckpoint(t *testing.T) {
	w := sampleSchemas(t)
	checkpoint, after := w.checkpoint(), len(w.frames)
	w.register(Schema{Type: SchemaAvro, Text: "later"})
	w.commit()
	for from := range after + 1 { // replay may begin earlier than it would have to
		e := w.recovered(Config{Shards: 2}, checkpoint, from)
		sameState(t, w.e, e)
		if sc := e.SchemaByID(3); sc == nil || !bytes.Equal(sc.DescriptorSet, []byte{1, 2, 3}) || sc.Message != "a.b.C" {
			t.Fatalf("%+v", sc)
		}
		x := &world{t: t, now: w.now, last: w.last, frames: w.frames}
		x.start(e)
		if got := x.register(Schema{Type: SchemaAvro, Text: `{"type":"string"}`}); got.ID != 1 || got.Made {
			t.Fatalf("%+v", got)
		}
		if got := x.register(Schema{Type: SchemaAvro, Text: "new"}); got.ID != 5 || !got.Made {
			t.Fatalf("%+v", got)
		}
	}
}

func TestSchemaCommandsThatDoNotFollow(t *testing.T) {
	good := func() []byte {
		b, err := (&Schema{Type: SchemaProto, Text: "text", Message: "M"}).encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	edited := func(at int, c byte) []byte {
		b := good()
		b[at] = c
		return b
	}
	for name, c := range map[string]struct {
		stream record.Stream
		id     uint64
		body   []byte
	}{
		"stream":      {record.Stream{Topic: 1}, 2, good()},
		"id too low":  {record.Stream{}, 1, good()},
		"id too high": {record.Stream{}, 3, good()},
		"id of 64":    {record.Stream{}, 1<<32 + 2, good()},
		"type 0":      {record.Stream{}, 2, edited(0, 0)},
		"type 3":      {record.Stream{}, 2, edited(0, 3)},
		"reserved":    {record.Stream{}, 2, edited(1, 1)},
		"name":        {record.Stream{}, 2, edited(2, 255)},
		"text":        {record.Stream{}, 2, edited(7, 255)},
		"no body":     {record.Stream{}, 2, nil},
		"no text":     {record.Stream{}, 2, good()[:schemaHeadBytes]},
		"large":       {record.Stream{}, 2, append(good(), make([]byte, SchemaBytesMax)...)},
		"the same":    {record.Stream{}, 2, []byte{1, 0, 0, 0, 1, 0, 0, 0, 'x'}},
	} {
		w := newWorld(t, Config{})
		w.register(Schema{Type: SchemaAvro, Text: "x"})
		w.commit()
		w.open[0].AppendCommand(record.SectionSchema, c.stream, c.id, c.body)
		w.append(0)
		e := New(Config{})
		if err := e.ApplyReplay(w.frame(1)); err != nil {
			t.Fatal(err)
		}
		if err := e.ApplyReplay(w.frame(2)); !errors.Is(err, ErrDiverged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestImpossibleSchemasInACheckpoint(t *testing.T) {
	w := sampleSchemas(t)
	good := captureSchemas(w.e, nil)(nil)
	restore := func(b []byte) error {
		d := decoder{left: b}
		if err := restoreSchemas(New(Config{}), &d); err != nil {
			return err
		}
		return d.end()
	}
	if err := restore(good); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if err := restore(good[:n]); err == nil {
			t.Fatalf("%d of %d bytes are no error", n, len(good))
		}
		bad := bytes.Clone(good)
		bad[n] ^= 0x81
		_ = restore(bad) // may do no harm
		if n+4 <= len(bad) {
			binary.LittleEndian.PutUint32(bad[n:], 1<<32-1)
			_ = restore(bad)
		}
	}
	if err := restore(make([]byte, 12)); err == nil {
		t.Fatal("no schemas as of no frame")
	}
	if err := restoreSchemas(w.e, &decoder{left: good}); err == nil {
		t.Fatal("schemas in two parts")
	}
}

// Readers on other goroutines see whole schemas while some are added.
func TestSchemasAreReadWhileSomeAreAdded(t *testing.T) {
	w := newWorld(t, Config{})
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				for i, sc := range w.e.Schemas() {
					if sc.Text != fmt.Sprint(i+1) || w.e.SchemaByID(sc.ID) != sc {
						t.Errorf("schema %d is %+v", i+1, sc)
						return
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range 2000 {
		w.register(Schema{Type: SchemaAvro, Text: fmt.Sprint(i + 1)})
		w.commit()
	}
	close(stop)
	readers.Wait()
}
