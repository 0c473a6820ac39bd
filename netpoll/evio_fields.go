package netpoll

import (
	"reflect"

	"github.com/tidwall/evio"
)

// descriptors reads two private fields of evio's connection, whose type is fixed by the version in go.mod; the
// conformance suite fails at its first connection if they are ever called otherwise:
//
//	type conn struct { fd int; loop *loop; … }
//	type loop struct { poll *internal.Poll; … }
//	type Poll struct { fd int; … }
func descriptors(ec evio.Conn) (fd, poll int) {
	conn := reflect.ValueOf(ec).Elem()
	fd = int(conn.FieldByName("fd").Int())
	poll = int(conn.FieldByName("loop").Elem().FieldByName("poll").Elem().FieldByName("fd").Int())
	return fd, poll
}
