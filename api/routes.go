package api

import (
	"bytes"
	"strings"

	"ayder/httpparse"
	"ayder/internal/auth"
)

// The table of calls, on one screen, and the tree that it is compiled to.
//
// Finding a route walks the path's segments through nested maps: no regular expression, no allocation. A
// literal segment wins over a {variable}, and that over {variable...}, which is all that is left of the path, slashes
// included but for a literal last segment that the table has behind it. A variable's name says how it is decoded (pathVars).

// handler does one call. It runs on a loop and must not block. The error may be an *Error,
// errStall, or anything else, which is answered 500.
type handler func(l *loop, x *exchange) (reply, error)

// route is one line of the table.
type route struct {
	method  httpparse.Method
	path    string
	role    auth.Role // 0: no token needed
	params  param
	where   where // in a cluster
	handler handler

	global    bool // a token that reaches only names with a prefix does not suffice
	gzip      bool // the body may be compressed
	pipelines bool // may be executed while earlier answers on its connection are still owed

	id   int       // index in the table, the number under which timings are recorded
	vars []pathVar // the path's variables, in order
}

// table is every call that the server has. HEAD works wherever GET does, OPTIONS everywhere.
func table() []route {
	return []route{
		{method: httpparse.POST, path: "/broker/topics/{topic}/produce", role: auth.Write, params: produceParams, gzip: true, pipelines: true, where: leaderOnly, handler: produce},
		{method: httpparse.POST, path: "/broker/topics/{topic}/produce-ndjson", role: auth.Write, params: produceParams | pEnvelope, gzip: true, pipelines: true, where: leaderOnly, handler: produceNDJSON},
		{method: httpparse.GET, path: "/broker/consume/{topic}/{group}/{partition}", role: auth.Read, params: consumeParams, where: linearizable, handler: consume},
		{method: httpparse.POST, path: "/broker/query", role: auth.Read, params: pTimeout | pConsistency, where: linearizable, handler: runQuery},
		{method: httpparse.POST, path: "/broker/join", role: auth.Read, params: pTimeout | pConsistency, where: linearizable, handler: runJoin},
		{method: httpparse.POST, path: "/broker/schemas", role: auth.Write, where: leaderOnly, handler: registerSchema},
		{method: httpparse.GET, path: "/broker/schemas", role: auth.Read, params: pConsistency, where: local, handler: listSchemas},
		{method: httpparse.GET, path: "/broker/schemas/{schema}", role: auth.Read, params: pConsistency, where: local, handler: getSchema},
		{method: httpparse.POST, path: "/broker/commit", role: auth.Read, pipelines: true, where: leaderOnly, handler: commitOffset},
		{method: httpparse.POST, path: "/broker/topics", role: auth.Admin, where: leaderOnly, handler: createTopic},
		{method: httpparse.GET, path: "/broker/topics", role: auth.Read, params: pConsistency, where: local, handler: listTopics},
		{method: httpparse.POST, path: "/broker/topics/{topic}/partitions", role: auth.Admin, where: leaderOnly, handler: growTopic},
		{method: httpparse.POST, path: "/broker/delete-before", role: auth.Admin, where: leaderOnly, handler: deleteBefore},
		{method: httpparse.POST, path: "/broker/retention", role: auth.Admin, where: leaderOnly, handler: setRetention},
		{method: httpparse.GET, path: "/broker/topics/{topic}", role: auth.Read, params: pConsistency, where: local, handler: describeTopic},
		{method: httpparse.POST, path: "/kv/{ns}/{key...}", role: auth.Write, params: kvWriteParams | pTTL, pipelines: true, gzip: true, where: leaderOnly, handler: kvPut},
		{method: httpparse.PUT, path: "/kv/{ns}/{key...}", role: auth.Write, params: kvWriteParams | pTTL, pipelines: true, gzip: true, where: leaderOnly, handler: kvPut},
		{method: httpparse.GET, path: "/kv/{ns}/{key...}", role: auth.Read, params: pRaw | pConsistency, where: linearizable, handler: kvGet},
		{method: httpparse.GET, path: "/kv/{ns}/{key...}/meta", role: auth.Read, params: pConsistency, where: linearizable, handler: kvMeta},
		{method: httpparse.GET, path: "/kv/{ns}", role: auth.Read, params: pPrefix | pLimit | pAfter | pWatch | pConsistency, where: linearizable, handler: kvList},
		{method: httpparse.DELETE, path: "/kv/{ns}/{key...}", role: auth.Write, params: kvWriteParams, pipelines: true, where: leaderOnly, handler: kvDelete},
		{method: httpparse.GET, path: "/broker/groups", role: auth.Read, params: pLimit | pAfter | pConsistency, where: local, handler: listGroups},
		{method: httpparse.GET, path: "/broker/groups/{group}", role: auth.Read, params: pConsistency, where: local, handler: describeGroup},
		{method: httpparse.DELETE, path: "/broker/groups/{group}", role: auth.Admin, global: true, where: leaderOnly, handler: deleteGroup},
		{method: httpparse.POST, path: "/broker/groups/{group}/reset", role: auth.Admin, where: leaderOnly, handler: resetGroup},
		{method: httpparse.POST, path: "/broker/groups/{group}/join", role: auth.Read, where: coordinated, handler: joinGroup},
		{method: httpparse.POST, path: "/broker/groups/{group}/heartbeat", role: auth.Read, where: coordinated, handler: heartbeat},
		{method: httpparse.GET, path: "/broker/groups/{group}/poll", role: auth.Read, params: pollParams, where: coordinated, handler: poll},
		{method: httpparse.POST, path: "/broker/groups/{group}/leave", role: auth.Read, where: coordinated, handler: leaveGroup},
		{method: httpparse.POST, path: "/broker/pipelines", role: auth.Read | auth.Write | auth.Admin, where: leaderOnly, handler: createPipeline},
		{method: httpparse.GET, path: "/broker/pipelines", role: auth.Read, params: pConsistency, where: local, handler: listPipelines},
		{method: httpparse.GET, path: "/broker/pipelines/{pipeline}", role: auth.Read, params: pConsistency, where: local, handler: describePipeline},
		{method: httpparse.DELETE, path: "/broker/pipelines/{pipeline}", role: auth.Admin, where: leaderOnly, handler: deletePipeline},
		{method: httpparse.POST, path: "/cloudevents/{topic}", role: auth.Write, params: cloudParams, gzip: true, pipelines: true, where: leaderOnly, handler: produceCloudEvents},
		{method: httpparse.GET, path: "/cloudevents/{topic}", role: auth.Read, params: cloudReading, where: linearizable, handler: consumeCloudEvents},
		{method: httpparse.GET, path: "/feed/{topic}", role: auth.Read, params: feedParams, where: linearizable, handler: feedAPI},
		{method: httpparse.GET, path: "/feed/{topic}/events", role: auth.Read, params: feedParams, where: linearizable, handler: feedEvents},
		{method: httpparse.DELETE, path: "/broker/topics/{topic}", role: auth.Admin, where: leaderOnly, handler: deleteTopic},
		{method: httpparse.GET, path: "/health", handler: health},
		{method: httpparse.GET, path: "/ready", handler: ready},
		{method: httpparse.GET, path: "/metrics", role: auth.Read, handler: metricsText},
		{method: httpparse.GET, path: "/metrics_ha", role: auth.Read, handler: metricsHA},
		{method: httpparse.GET, path: "/ha/membership", role: auth.Admin, global: true, handler: membership},
		{method: httpparse.POST, path: "/ha/membership/add", role: auth.Admin, global: true, where: leaderOnly, handler: addMember},
		{method: httpparse.POST, path: "/ha/membership/promote", role: auth.Admin, global: true, where: leaderOnly, handler: promoteMember},
		{method: httpparse.POST, path: "/ha/membership/remove", role: auth.Admin, global: true, where: leaderOnly, handler: removeMember},
		{method: httpparse.POST, path: "/ha/transfer", role: auth.Admin, global: true, where: leaderOnly, handler: transfer},
		{method: httpparse.GET, path: "/admin/timing", role: auth.Read, params: pReset, handler: adminTiming},
		{method: httpparse.GET, path: "/admin/backup", role: auth.Admin, global: true, handler: backupList},
		{method: httpparse.GET, path: "/admin/backup/{piece}", role: auth.Admin, global: true, params: pOffset | pMaxBytes, handler: backupPiece},
		{method: httpparse.GET, path: "/openapi.json", handler: openAPI},
		{method: httpparse.GET, path: "/docs", handler: docsPage},
		{method: httpparse.GET, path: "/docs/{page}", handler: docsPage},
		{method: httpparse.GET, path: "/docs/errors", handler: docsErrors},
		{method: httpparse.GET, path: "/console", handler: consolePage},
		{method: httpparse.GET, path: "/console/{file}", handler: consoleFile},
	}
}

// What follows from the table, made once at start. (Initialised by init because handlers refer to it.)
var (
	routes     []route
	root       *node    // the table as a tree of path segments
	routeOther int      // the number under which requests without a route are recorded
	routeNames []string // labels of metrics and timings, indexed by route number
)

func init() {
	routes = table()
	root = compile(routes)
	routeOther = len(routes)
	for i := range routes {
		routeNames = append(routeNames, routes[i].method.String()+" "+routes[i].path)
	}
	routeNames = append(routeNames, "other")
}

// node is one path segment of the compiled table.
type node struct {
	literal  map[string]*node
	variable *node
	rest     *node
	byMethod map[httpparse.Method]*route
	allow    string // for 405 and OPTIONS
}

func compile(routes []route) *node {
	top := &node{}
	for i := range routes {
		r := &routes[i]
		r.id = i
		n := top
		for _, seg := range strings.Split(r.path[1:], "/") {
			if n = n.child(seg); strings.HasPrefix(seg, "{") {
				r.vars = append(r.vars, pathVarOf(seg))
			}
		}
		n.add(r.method, r)
	}
	return top
}

func (n *node) child(seg string) *node {
	switch {
	case strings.HasSuffix(seg, "...}"):
		if n.rest == nil {
			n.rest = &node{}
		}
		return n.rest
	case strings.HasPrefix(seg, "{"):
		if n.variable == nil {
			n.variable = &node{}
		}
		return n.variable
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[seg] == nil {
		n.literal[seg] = &node{}
	}
	return n.literal[seg]
}

func (n *node) add(m httpparse.Method, r *route) {
	if n.byMethod == nil {
		n.byMethod, n.allow = map[httpparse.Method]*route{}, "OPTIONS"
	}
	n.byMethod[m] = r
	n.allow += ", " + m.String()
	if m == httpparse.GET {
		n.byMethod[httpparse.HEAD] = r
		n.allow += ", HEAD"
	}
}

// find walks the path. vars are the segments that stood for a {variable}, undecoded.
func find(path []byte, vars *[pathVarsMax][]byte) (n *node, nvars int) {
	n = root
	for len(path) > 0 && n != nil {
		path = path[1:]
		seg, all := path, path
		if i := bytes.IndexByte(path, '/'); i >= 0 {
			seg, path = path[:i], path[i:]
		} else {
			path = nil
		}
		if next := n.literal[string(seg)]; next != nil {
			n = next
			continue
		}
		switch {
		case n.variable != nil:
			n = n.variable
		case n.rest != nil:
			n, seg, path = n.rest.end(all)
		default:
			return nil, 0
		}
		vars[nvars] = seg
		nvars++
	}
	if n == nil || n.byMethod == nil {
		return nil, 0
	}
	return n, nvars
}

// end is where the rest of a path leads, by its last segment, and what of it the variable stands for. The segment is
// taken as it came: %2Fmeta at the end belongs to the variable.
func (n *node) end(all []byte) (to *node, seg, path []byte) {
	if i := bytes.LastIndexByte(all, '/'); i > 0 && n.literal != nil {
		if to := n.literal[string(all[i+1:])]; to != nil {
			return to, all[:i], nil
		}
	}
	return n, all, nil
}
