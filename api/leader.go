package api

// Requests that only the leader may serve, on a node that may not be it.

// redirect sends a client to the leader, with the same path and query.
func (l *loop) redirect(x *exchange) *Error {
	o := &l.server.options
	st := o.Cluster.Status()
	if st.LeaderID == "" || st.LeaderID == st.NodeID || st.LeaderHTTPAddr == "" {
		return errNoLeader
	}
	location := "http://"
	if o.Secure != nil && o.Secure(x.conn.net) {
		location = "https://"
	}
	location += st.LeaderHTTPAddr + string(x.req.Path)
	if x.req.Query != nil {
		location += "?" + string(x.req.Query)
	}
	e := *errRedirect
	e.Header = "Location: " + location + "\r\n"
	e.Fields = `,"leader":` + string(appendJSONString(nil, []byte(st.LeaderHTTPAddr)))
	return &e
}
