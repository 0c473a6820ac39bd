package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"ayder/internal/record"
)

// The schema registry: texts that queries decode messages by, under numbers that never change their meaning.
//
// Ids are dense, start at 1 and are given in the order of the log. A schema is what it says: who registers the same again is told
// the id that it has, also where the first registration is still in flight. There is no deletion, because messages carry ids for
// as long as anybody keeps them. Whether a text makes sense is judged before it comes here; the engine holds bytes.
//
// The list only grows, and readers see it through an atomic pointer to a slice that ends where it did when it was stored: what
// lies behind that end, in the same memory, is not theirs to look at. So adding one of 10,000 copies nothing but now and then.

// The types of schemas, by their names in the HTTP interface.
const (
	SchemaAvro  = "avro"
	SchemaProto = "proto"
)

// schemaTypes are the types by their numbers in the log, less one.
var schemaTypes = [...]string{SchemaAvro, SchemaProto}

// Schema is a registered schema. It never changes and may be used from any goroutine; its slice must not be written to.
type Schema struct {
	ID            uint32
	Type          string // SchemaAvro or SchemaProto
	Text          string // may be empty where there is a descriptor set
	DescriptorSet []byte // a FileDescriptorSet, of SchemaProto; may be empty where there is a text
	Message       string // the message that is meant, of SchemaProto; may be empty
}

// schemaKey tells schemas apart by what they say.
type schemaKey [sha256.Size]byte

// schemas is the registry. All but list belongs to the catalogue's loop, or to recovery.
type schemas struct {
	list   atomic.Pointer[[]*Schema] // id 1 first; safe: it never changes within its length
	ids    map[schemaKey]uint32
	bytes  int // of all together
	flying schemasFlying
	asOf   uint64 // index of the last frame that added one
	skipTo uint64 // asOf when it was restored: replay leaves frames up to here out
}

// schemasFlying are the registrations in flight.
type schemasFlying struct {
	by    map[schemaKey]schemaFlight
	bytes int
}

type schemaFlight struct {
	id    uint32
	batch *record.Batch
}

// Registration is the result of RegisterSchema.
type Registration struct {
	ID    uint32
	Made  bool          // it is new: a command is in Batch
	Batch *record.Batch // answer when that is done; nil: the schema is there
}

// SchemaByID returns the schema with that id, nil if there is none. Any goroutine may ask; it takes no lock.
func (e *Engine) SchemaByID(id uint32) *Schema {
	if all := e.Schemas(); id >= 1 && uint64(id) <= uint64(len(all)) {
		return all[id-1]
	}
	return nil
}

// Schemas returns all schemas by rising ids. Any goroutine may ask; the list must not be changed.
func (e *Engine) Schemas() []*Schema {
	if l := e.schemas.list.Load(); l != nil {
		return *l
	}
	return nil
}

// RegisterSchema gives sc an id with a command in the batch that open returns, unless it has one; sc.ID does not count, and what sc
// refers to is not kept. It must be called on the catalogue's shard. Errors: ErrSchemaType, ErrSchemaSize, ErrSchemaLimit, and
// those of open.
func (s *Shard) RegisterSchema(open Opener, sc *Schema) (Registration, error) {
	s.mustBeCatalogue()
	body, err := sc.encode()
	if err != nil {
		return Registration{}, err
	}
	r, key := &s.engine.schemas, schemaKey(sha256.Sum256(body))
	if id, ok := r.ids[key]; ok {
		return Registration{ID: id}, nil
	}
	if f, ok := r.flying.by[key]; ok {
		return Registration{ID: f.id, Batch: f.batch}, nil
	}
	id := uint32(len(s.engine.Schemas()) + len(r.flying.by) + 1)
	if id > SchemasMax || r.bytes+r.flying.bytes+len(body) > SchemasTotalBytes {
		return Registration{}, ErrSchemaLimit
	}
	b, err := open(len(body))
	if err != nil {
		return Registration{}, err
	}
	b.AppendCommand(record.SectionSchema, record.Stream{}, uint64(id), body)
	r.flying.add(key, schemaFlight{id, b}, len(body))
	return Registration{ID: id, Made: true, Batch: b}, nil
}

func (f *schemasFlying) add(key schemaKey, at schemaFlight, bytes int) {
	if f.by == nil {
		f.by = make(map[schemaKey]schemaFlight, schemaFlyingInitial)
	}
	f.by[key] = at
	f.bytes += bytes
}

// landed notes that a schema was applied, whoever registered it.
func (f *schemasFlying) landed(key schemaKey, bytes int) {
	if _, ok := f.by[key]; ok {
		delete(f.by, key)
		f.bytes -= bytes
	}
}

const schemaHeadBytes = 8 // an encoded schema without its parts

// encode is the body of the command that registers sc; doc.go draws it. Equal bodies are the same schema.
func (sc *Schema) encode() ([]byte, error) {
	if err := sc.validate(); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	b := make([]byte, 0, schemaHeadBytes+len(sc.Message)+len(sc.Text)+len(sc.DescriptorSet))
	b = append(b, sc.kind(), 0)
	b = le.AppendUint16(b, uint16(len(sc.Message)))
	b = le.AppendUint32(b, uint32(len(sc.Text)))
	b = append(b, sc.Message...)
	b = append(b, sc.Text...)
	return append(b, sc.DescriptorSet...), nil
}

// kind is the number of sc's type in the log, 0 if it has none.
func (sc *Schema) kind() byte {
	for i, name := range schemaTypes {
		if name == sc.Type {
			return byte(i + 1)
		}
	}
	return 0
}

func (sc *Schema) validate() error {
	size := len(sc.Text) + len(sc.DescriptorSet)
	switch {
	case sc.kind() == 0:
		return ErrSchemaType
	case size < 1 || size > SchemaBytesMax || len(sc.Message) > SchemaNameBytesMax:
		return ErrSchemaSize
	}
	return nil
}

// readSchema decodes all of b, copied, and checks that there may be such a schema.
func readSchema(id uint32, b []byte) (*Schema, error) {
	d := decoder{left: b}
	kind, zero := d.u8(), d.u8()
	message, text := d.u16(), d.u32()
	sc := &Schema{ID: id, Message: string(d.bytes(uint64(message))), Text: string(d.bytes(uint64(text)))}
	if d.failed || zero != 0 || kind < 1 || int(kind) > len(schemaTypes) {
		return nil, fmt.Errorf("schema %d of type %d in %d bytes: %w", id, kind, len(b), record.ErrMalformed)
	}
	sc.Type = schemaTypes[kind-1]
	if len(d.left) > 0 {
		sc.DescriptorSet = append([]byte(nil), d.left...)
	}
	return sc, sc.validate()
}

// applySchema adds a schema.
func (e *Engine) applySchema(f *record.Frame, sec *record.Section, live bool) error {
	r := &e.schemas
	if !live && f.Index <= r.skipTo {
		return nil
	}
	if sec.Stream != (record.Stream{}) {
		return fmt.Errorf("schema in stream %v: %w", sec.Stream, ErrDiverged)
	}
	if err := r.add(sec.Base, sec.Body); err != nil {
		return fmt.Errorf("%w: %w", err, ErrDiverged)
	}
	r.asOf = f.Index
	return nil
}

// add appends the schema of that body, whose id must be the next one.
func (r *schemas) add(id uint64, body []byte) error {
	var list []*Schema
	if l := r.list.Load(); l != nil {
		list = *l
	} else {
		list, r.ids = make([]*Schema, 0, schemaListInitial), make(map[schemaKey]uint32)
	}
	key := schemaKey(sha256.Sum256(body))
	switch same := r.ids[key]; {
	case id != uint64(len(list))+1 || id > SchemasMax:
		return fmt.Errorf("schema %d behind %d", id, len(list))
	case same != 0:
		return fmt.Errorf("schema %d is schema %d", id, same)
	}
	sc, err := readSchema(uint32(id), body)
	if err != nil {
		return err
	}
	list = append(list, sc)
	r.list.Store(&list)
	r.ids[key] = sc.ID
	r.bytes += len(body)
	r.flying.landed(key, len(body))
	return nil
}

// Schemas in a checkpoint: an extension of the catalogue's shard.
//
//	extension 4  as_of u64 | schemas u32 | × ( size u32 | body as in the command ), by rising ids from 1

const schemasTag uint32 = 4 // of the extension

// captureSchemas captures the registry, if there is anything in it.
func captureSchemas(e *Engine, owner *Shard) capturedExtension {
	if owner != nil && owner.number != CatalogueShard || e.schemas.asOf == 0 {
		return nil
	}
	list, asOf := e.Schemas(), e.schemas.asOf
	return func(dst []byte) []byte {
		le := binary.LittleEndian
		dst = le.AppendUint64(dst, asOf)
		dst = le.AppendUint32(dst, uint32(len(list)))
		for _, sc := range list {
			body, err := sc.encode()
			if err != nil {
				panic(fmt.Sprintf("bug: schema %d in the registry: %v", sc.ID, err))
			}
			dst = le.AppendUint32(dst, uint32(len(body)))
			dst = append(dst, body...)
		}
		return dst
	}
}

// restoreSchemas takes what captureSchemas encoded.
func restoreSchemas(e *Engine, d *decoder) error {
	r := &e.schemas
	asOf, count := d.u64(), d.u32()
	switch {
	case d.failed:
		return errShort
	case r.asOf != 0 || asOf == 0 || count == 0:
		return fmt.Errorf("%d schemas as of %d: are there already, or too early", count, asOf)
	}
	for i := range count {
		body := d.bytes(uint64(d.u32()))
		if d.failed {
			return errShort
		}
		if err := r.add(uint64(i)+1, body); err != nil {
			return err
		}
	}
	r.asOf, r.skipTo = asOf, asOf
	return nil
}
