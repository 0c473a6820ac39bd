package api

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"ayder/engine"
	"ayder/internal/jsonscan"
	"ayder/internal/record"
	"ayder/internal/schema"
)

// The schema registry: texts under ids, which queries, joins and the messages themselves refer to.
//
// Whether a schema is one is found out before it goes into the log, by a worker, because compiling a large one takes tenths of
// a second. The registry itself is the engine's; it is the same on all nodes, and nothing is ever taken out of it.

// schemaRequest is the body of POST /broker/schemas.
type schemaRequest struct {
	Type             *string `json:"type"`
	SchemaText       string  `json:"schema_text"`
	DescriptorSetB64 string  `json:"descriptor_set_b64"`
	Message          string  `json:"message"`
}

var schemaFields = fieldsOf(schemaRequest{})

// registerSchema gives a schema an id: 201 when that is durable, 200 if it has one already.
func registerSchema(l *loop, x *exchange) (reply, error) {
	if len(x.body) > queryBodyMax {
		return reply{}, errTooLarge.with("the body of this call is at most %d bytes", queryBodyMax)
	}
	if x.schema == nil {
		return l.readSchemaElsewhere(x)
	}
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	open := func(size int) (*record.Batch, error) {
		c, err := l.batch(size + len(x.head))
		if err != nil {
			return nil, err
		}
		return c.batch, nil
	}
	made, err := l.shard.RegisterSchema(open, x.schema)
	switch {
	case errors.Is(err, engine.ErrSchemaSize):
		return reply{}, errBadSchema.with("%v", err)
	case errors.Is(err, engine.ErrSchemaLimit):
		return reply{}, errSchemaLimit.with("%v", err)
	case err != nil:
		return reply{}, err
	case made.Batch == nil:
		l.body = appendSchemaID(l.body[:0], made.ID)
		return reply{status: 200, body: l.body}, nil
	}
	clone := x.cloned()
	clone.render = func(b []byte) []byte { return appendSchemaID(b, made.ID) }
	w := waiter{kind: owedRender, again: clone, created: made.Made}
	if made.Made {
		w.concern = l.commandConcern()
	}
	return l.park(made.Batch, x, w), nil
}

func appendSchemaID(b []byte, id uint32) []byte {
	return append(appendMember(append(b, `{"ok":true`...), "id", uint64(id)), '}')
}

// readSchemaElsewhere has a worker read and check the body; the request goes on here when that is done.
func (l *loop) readSchemaElsewhere(x *exchange) (reply, error) {
	c := x.cloned()
	late := x.complete + int64(queryTimeMax)
	ok := l.server.workers.add(func(*worker) {
		var err error
		if now() > late {
			err = errOverloaded.with("the schema's turn to be checked did not come in time; try again")
		} else {
			c.schema, err = readSchema(c.body)
		}
		l.goOn(c, err)
	})
	if !ok {
		return reply{}, errOverloaded.with("too many queries are waiting; try again")
	}
	l.exclude(x.conn)
	return reply{later: true}, nil
}

// readSchema reads the body of a registration, and compiles what it says.
func readSchema(body []byte) (*engine.Schema, error) {
	var q schemaRequest
	if err := decodeJSON(body, &q, schemaFields); err != nil {
		return nil, err
	}
	set, err := base64.StdEncoding.DecodeString(q.DescriptorSetB64)
	switch {
	case err != nil:
		return nil, errBadSchema.with("descriptor_set_b64: %v", err)
	case q.Type == nil:
		return nil, errBadSchema.with("type is required, avro or proto")
	case q.SchemaText == "" && len(set) == 0:
		return nil, errBadSchema.with("schema_text or descriptor_set_b64 is required")
	case q.SchemaText != "" && len(set) > 0:
		return nil, errBadSchema.with("schema_text and descriptor_set_b64 exclude each other")
	}
	if err := schema.Check(schema.Schema{Type: *q.Type, Text: []byte(q.SchemaText), DescriptorSet: set, Message: q.Message}); err != nil {
		return nil, errBadSchema.with("%s", strings.ToValidUTF8(err.Error(), "\uFFFD"))
	}
	return &engine.Schema{Type: *q.Type, Text: q.SchemaText, DescriptorSet: set, Message: q.Message}, nil
}

// getSchema shows a schema.
func getSchema(l *loop, x *exchange) (reply, error) {
	sc := l.server.options.Engine.SchemaByID(x.args.schema)
	if sc == nil {
		return reply{}, errUnknownSchema.with("there is no schema %d", x.args.schema)
	}
	b := appendSchema(append(l.body[:0], `{"ok":true,`...), sc)
	if sc.Text != "" {
		b = jsonscan.AppendString(append(b, `,"schema_text":`...), []byte(strings.ToValidUTF8(sc.Text, "\uFFFD")))
	}
	if len(sc.DescriptorSet) > 0 {
		b = base64.StdEncoding.AppendEncode(append(b, `,"descriptor_set_b64":"`...), sc.DescriptorSet)
		b = append(b, '"')
	}
	l.body = append(appendFollower(b, x.follower), '}')
	return reply{status: 200, body: l.body}, nil
}

// listSchemas names all schemas.
func listSchemas(l *loop, x *exchange) (reply, error) {
	all := l.server.options.Engine.Schemas()
	b := append(l.body[:0], `{"ok":true,"schemas":[`...)
	for i, sc := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendSchema(append(b, '{'), sc), '}')
	}
	b = appendMember(append(b, ']'), "count", uint64(len(all)))
	l.body = append(appendFollower(b, x.follower), '}')
	return reply{status: 200, body: l.body}, nil
}

// appendSchema appends what a schema is, without its text.
func appendSchema(b []byte, sc *engine.Schema) []byte {
	b = strconv.AppendUint(append(b, `"id":`...), uint64(sc.ID), 10)
	b = jsonscan.AppendString(append(b, `,"type":`...), []byte(sc.Type))
	if sc.Message != "" {
		b = jsonscan.AppendString(append(b, `,"message":`...), []byte(sc.Message))
	}
	return b
}

// schemaByID finds a registered schema for whoever decodes with it.
func (s *Server) schemaByID(id uint32) (schema.Schema, bool) {
	sc := s.options.Engine.SchemaByID(id)
	if sc == nil {
		return schema.Schema{}, false
	}
	return schema.Schema{ID: sc.ID, Type: sc.Type, Text: []byte(sc.Text), DescriptorSet: sc.DescriptorSet, Message: sc.Message}, true
}
