package api

import (
	"bytes"
	"strings"
	"time"

	"ayder/engine"
	"ayder/httpparse"
	"ayder/internal/auth"
)

// exchange is one request on its way to an answer. Each loop has one for the request it is
// executing; its slices alias the connection's input. A request that has to wait, or that belongs
// to another loop, is cloned: the clone owns its bytes and is decoded again where it is run.
type exchange struct {
	meta
	conn   *conn
	head   []byte // the head as it came, so that a clone can be decoded again
	body   []byte
	req    *httpparse.Request
	route  *route
	args   args
	scope  *auth.Scope // what the token may do, nil where none is needed
	clone  bool
	pinned bool   // the partition was chosen when the request was first run
	pin    uint32 // that partition

	follower   bool   // served by a node that does not lead
	refusal    *Error // what a parked refusal will say
	confirmed  bool   // this node led after the request had come
	waited     waited // for messages (longpoll.go)
	inflated   bool   // body is what the client compressed
	measured   measured
	render     func(b []byte) []byte // makes the answer once its command is applied
	lines      lines                 // what reading an NDJSON body found, once it was read
	cloud      *cloudCall            // what reading events found, once they were read
	schema     *engine.Schema        // what reading the body of a registration found, once it was read
	evaluation evaluation            // what reading the body of a query found, once it was read
	pipeline   *pipelineCall         // what a request about a pipeline remembers
	grouped                          // what a request about groups remembers (members.go)
}

// cloned returns a copy of x that outlives the call it was made in.
func (x *exchange) cloned() *exchange {
	if x.clone {
		return x
	}
	return &exchange{
		meta: x.meta, conn: x.conn, clone: true, pinned: x.pinned, pin: x.pin, confirmed: x.confirmed, waited: x.waited, lines: x.lines, inflated: x.inflated,
		measured: x.measured, evaluation: x.evaluation, schema: x.schema, pipeline: x.pipeline, grouped: x.grouped,
		head: bytes.Clone(x.head), body: bytes.Clone(x.body),
	}
}

// execute runs a request for the first time; its answer is owed from here on.
func (l *loop) execute(x *exchange) {
	x.conn.owe()
	if l.run(x) {
		l.holdBack(x)
	}
}

// holdBack keeps a request until a batch can be opened. Its connection executes nothing else.
func (l *loop) holdBack(x *exchange) {
	if len(l.retries) >= retriesMax {
		l.finishError(x.conn, &x.meta, errOverloaded)
		return
	}
	l.exclude(x.conn)
	l.retries = append(l.retries, x.cloned())
}

// exclude keeps c from executing anything else until it has its answer. Another loop's connection
// is excluded already: that is how its request came here.
func (l *loop) exclude(c *conn) {
	if c.loop == l {
		c.exclusive = true
	}
}

// again runs a clone on the loop that owns its connection: what it lacked exists now.
func (l *loop) again(x *exchange) {
	home := x.conn.loop
	home.net.Post(func() { home.resume(x) })
}

// resume runs a clone on this loop.
func (l *loop) resume(x *exchange) {
	if l.run(x) {
		l.holdBack(x)
	}
}

// goOn resumes a clone once what it lacked is there, or answers why that cannot be had. Any goroutine.
func (l *loop) goOn(x *exchange, err error) {
	l.net.Post(func() {
		if err != nil {
			l.finishError(x.conn, &x.meta, asError(err))
			return
		}
		l.resume(x)
	})
}

// forward runs x on the loop that owns what it needs. The answer comes back by itself.
func (l *loop) forward(owner int, x *exchange) (reply, error) {
	l.exclude(x.conn)
	if x.conn.loop == l && x.args.waitMs > 0 {
		x.conn.away = owner + 1
	}
	c := x.cloned()
	there := l.server.loops[owner]
	if !there.net.TryPost(func() { there.resume(c) }) {
		return reply{}, errOverloaded
	}
	l.counters.ForwardedOut.Add(1)
	return reply{later: true}, nil
}

// run decodes and executes x and sends its answer, unless that comes later. It returns true if x
// has to wait for a batch.
func (l *loop) run(x *exchange) (stalled bool) {
	l.unescaped = l.unescaped[:0]
	r, err := l.dispatch(x)
	switch {
	case err == errStall:
		return true
	case err == ErrNotLeader:
		l.finishError(x.conn, &x.meta, l.redirect(x))
	case err != nil:
		l.finishError(x.conn, &x.meta, asError(err))
	case !r.later:
		l.finish(x.conn, &x.meta, 0, &r)
	}
	return false
}

// dispatch finds the route of x, checks the token and calls the handler.
func (l *loop) dispatch(x *exchange) (reply, error) {
	if x.clone {
		l.decode(x)
		x.started = now()
	}
	if err := l.resolve(x); err != nil {
		return reply{}, err
	}
	if !x.clone {
		if err := l.ration(x); err != nil {
			return reply{}, err
		}
	}
	if x.route == nil {
		return reply{status: 204, header: x.conn.preflight}, nil
	}
	if err := l.parseQuery(&x.args, x.req.Query, x.route.params); err != nil {
		return reply{}, err
	}
	if x.args.timing {
		x.flags |= wantsTiming
	}
	if l.server.options.Cluster != nil {
		if waits, err := l.enter(x); waits || err != nil {
			return reply{later: true}, err
		}
	}
	if waits, err := l.inflate(x); waits || err != nil {
		return reply{later: true}, err
	}
	r, err := x.route.handler(l, x)
	if err != nil && err != errStall && err != ErrNotLeader {
		return l.vouch(x, err)
	}
	return r, err
}

// decode reads a clone's head again; the result is valid until the loop's next request.
func (l *loop) decode(x *exchange) {
	if n, err := l.parser.Head(x.head, &l.server.options.HTTP); err != nil || n == 0 {
		panic("bug: a head that was parsed before does not parse again")
	}
	x.req = &l.parser.Request
}

// resolve finds the route and decodes the path, and checks the token. A nil route without an
// error is OPTIONS.
func (l *loop) resolve(x *exchange) error {
	x.args = args{limit: consumeLimit, maxBytes: consumeBytes}
	x.route, x.meta.route = nil, uint16(routeOther)
	req := x.req
	if req.Method == httpparse.OPTIONS && string(req.Path) == "*" {
		x.conn.preflight = ""
		return nil
	}
	var vars [pathVarsMax][]byte
	var n *node
	nvars := 0
	if len(req.Path) > 0 && req.Path[0] == '/' {
		n, nvars = find(req.Path, &vars)
	}
	if n == nil {
		return errNotFound
	}
	r := n.byMethod[req.Method]
	if r == nil {
		return l.noMethod(x, n)
	}
	x.route, x.meta.route = r, uint16(r.id)
	var err error
	if x.scope, err = l.authorize(x, r); err != nil {
		return err
	}
	return l.decodePath(x, x.scope, vars[:nvars])
}

// noMethod answers a path that exists without this method: OPTIONS or 405.
func (l *loop) noMethod(x *exchange, n *node) error {
	if x.req.Method == httpparse.OPTIONS {
		x.conn.preflight = "Allow: " + n.allow + "\r\n" + l.server.cors.preflight(n, x.req)
		return nil
	}
	e := *errMethod
	e.Header = "Allow: " + n.allow + "\r\n"
	return &e
}

// pathVar says how a variable of a path is decoded, and where to.
type pathVar uint8

const (
	varTopic pathVar = iota
	varGroup
	varPartition
	varNamespace
	varKey
	varSchema
	varPipeline
	varFile
	varPiece
	varPage

	pathVarsMax = 3 // variables of one path
)

// pathVars are the variables by the names that they have in the table.
var pathVars = map[string]pathVar{"topic": varTopic, "group": varGroup, "partition": varPartition, "ns": varNamespace, "key": varKey, "schema": varSchema, "pipeline": varPipeline, "file": varFile, "piece": varPiece, "page": varPage}

// pathVarOf is the variable that a segment of the table's paths stands for.
func pathVarOf(seg string) pathVar {
	v, ok := pathVars[strings.TrimSuffix(strings.Trim(seg, "{}"), "...")]
	if !ok {
		panic("bug: the table of calls has an unknown variable " + seg)
	}
	return v
}

// decodePath stores the path's variables.
func (l *loop) decodePath(x *exchange, scope *auth.Scope, vars [][]byte) error {
	for i, v := range vars {
		v, err := l.unescapePath(v)
		if err == nil {
			err = x.args.putPath(x.route.vars[i], v, scope)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putPath checks and stores one variable, decoded.
func (a *args) putPath(name pathVar, v []byte, scope *auth.Scope) error {
	switch name {
	case varTopic:
		a.topic = v
		return checkTopic(v, scope)
	case varGroup:
		a.group = v
		if !engine.ValidName(v) {
			return errBadGroup
		}
	case varNamespace:
		a.namespace = v
		return checkNamespace(v, scope)
	case varKey:
		if a.kvKey = v; len(v) == 0 || len(v) > engine.KVKeyBytesMax {
			return errBadKey.with("a key has 1 to %d bytes", engine.KVKeyBytesMax)
		}
	case varSchema:
		n, ok := parseUint(v, 1<<32-1)
		if !ok {
			return errBadParameter.with("schema %q is not a number", v)
		}
		a.schema = uint32(n)
	case varPipeline:
		a.pipeline = v
	case varFile:
		a.file = v
	case varPiece:
		return a.putPiece(v)
	case varPage:
		a.page = v
	case varPartition:
		n, ok := parseUint(v, 1<<32-1)
		if !ok {
			return errBadParameter.with("partition %q is not a number", v)
		}
		a.partition = uint32(n)
	}
	return nil
}

// checkTopic tells whether name may be a topic and the token's scope reaches it.
func checkTopic(name []byte, scope *auth.Scope) error {
	if len(name) == 0 {
		return errMissingTopic
	}
	if !engine.ValidName(name) {
		return errBadTopic
	}
	if scope != nil && !scope.AllowsName(name) {
		return errForbidden.with("the token does not reach topic %q", name)
	}
	return nil
}

// checkNamespace is the same for a namespace of keys.
func checkNamespace(name []byte, scope *auth.Scope) error {
	if !engine.ValidName(name) {
		return errBadNamespace
	}
	if scope != nil && !scope.AllowsName(name) {
		return errForbidden.with("the token does not reach namespace %q", name)
	}
	return nil
}

// authorize checks the request's token against the route. The outcome of the last check is kept
// per connection: a producer sends the same token with every request.
func (l *loop) authorize(x *exchange, r *route) (*auth.Scope, error) {
	if r.role == 0 {
		return nil, nil
	}
	c, tokens := x.conn, l.server.options.Tokens.Load()
	scope := (*auth.Scope)(nil)
	if c.loop == l && c.tokens == tokens && len(x.req.Authorization) > 0 && bytes.Equal(c.authorization, x.req.Authorization) {
		scope = c.scope
	} else {
		var err error
		if scope, err = tokens.Check(x.req.Authorization); err != nil {
			l.counters.AuthFailures.Add(1)
			return nil, errUnauthorized.with("%v", err)
		}
		if c.loop == l {
			c.tokens, c.scope = tokens, scope
			c.authorization = append(c.authorization[:0], x.req.Authorization...)
		}
	}
	if !scope.Allows(r.role) {
		l.counters.AuthFailures.Add(1)
		return nil, errForbidden.with("the token has not the role %s", r.role)
	}
	if r.global && scope.Restricted() {
		l.counters.AuthFailures.Add(1)
		return nil, errForbidden.with("the token is for names with a prefix; this call concerns all")
	}
	return scope, nil
}

// ration takes the request, which is executed for the first time, off its token's limits.
func (l *loop) ration(x *exchange) error {
	if x.scope == nil || x.scope.Limit() == nil {
		return nil
	}
	wait := x.scope.Limit().Take(x.started, len(x.body))
	if wait == 0 {
		return nil
	}
	l.counters.RateLimited.Add(1)
	e := *errRateLimited
	e.RetryAfter = int((wait + time.Second - 1) / time.Second)
	return &e
}

// mayAdmin tells whether the request's token has the role admin.
func (x *exchange) mayAdmin() bool { return x.scope != nil && x.scope.Allows(auth.Admin) }
