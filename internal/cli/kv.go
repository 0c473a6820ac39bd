package cli

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Keys and values. A key on the command line is any text; its path keeps slashes and escapes the rest. Values go in and
// out as they are, byte for byte, so that a file comes back as the same file. A watch that breaks goes on behind the
// last change that it has seen.

var kvCommands = []command{
	{name: "kv get", args: "NS KEY", count: [2]int{2, 2}, help: "Print a key's value, its bytes as they are", build: kvGet},
	{name: "kv meta", args: "NS KEY", count: [2]int{2, 2}, help: "Print a key's version and remaining time", build: kvMeta},
	{name: "kv put", args: "NS KEY [VALUE]", count: [2]int{2, 3}, help: "Set a key to VALUE, or to what standard input holds", build: kvPut},
	{name: "kv delete", args: "NS KEY", count: [2]int{2, 2}, help: "Delete a key", build: kvDelete},
	{name: "kv list", args: "NS", count: [2]int{1, 1}, help: "List keys with their versions, one on a line", build: kvList},
	{name: "kv watch", args: "NS", count: [2]int{1, 1}, help: "Print every change of a namespace as it happens", build: kvWatch},
}

// keyPath is a key's path. A slash in it stays one; everything else that means something in a URL is escaped, and a
// key that ends like the path of the metadata call, too.
func keyPath(ns, key string) string {
	escaped := strings.ReplaceAll(url.PathEscape(key), "%2F", "/")
	if rest, ok := strings.CutSuffix(escaped, "/meta"); ok {
		escaped = rest + "%2Fmeta"
	}
	return "/kv/" + segment(ns) + "/" + escaped
}

func kvGet(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		q := call{method: http.MethodGet, path: keyPath(args[0], args[1]), repeat: true}
		if s.json {
			return s.printAnswer(q)
		}
		q.query = url.Values{"raw": {"1"}}
		body, _, err := s.client.do(s.ctx, q)
		if err != nil {
			return err
		}
		_, err = s.Out.Write(body)
		return err
	}
}

func kvMeta(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		return s.printAnswer(call{method: http.MethodGet, path: keyPath(args[0], args[1]) + "/meta", repeat: true})
	}
}

func kvPut(f *pflag.FlagSet) func(*session, []string) error {
	cas := f.Uint64("cas", 0, "only if the key has this version; 0: only if it does not exist")
	ttl := f.Duration("ttl", 0, "delete it after this time")
	file := f.String("file", "", "take the value from this file")
	return func(s *session, args []string) error {
		value, err := s.value(args[2:], *file)
		if err != nil {
			return err
		}
		query := url.Values{}
		if f.Changed("cas") {
			query.Set("cas", strconv.FormatUint(*cas, 10))
		}
		if *ttl > 0 {
			query.Set("ttl_ms", strconv.FormatInt(ttl.Milliseconds(), 10))
		}
		return s.printAnswer(call{method: http.MethodPut, path: keyPath(args[0], args[1]), query: query, body: value})
	}
}

// value is an argument, a file's content, or what standard input holds.
func (s *session) value(args []string, file string) ([]byte, error) {
	switch {
	case len(args) > 0 && file != "":
		return nil, usagef("a value and --file exclude each other")
	case len(args) > 0:
		return []byte(args[0]), nil
	case file != "":
		return os.ReadFile(file)
	}
	return io.ReadAll(s.In)
}

func kvDelete(f *pflag.FlagSet) func(*session, []string) error {
	cas := f.Uint64("cas", 0, "only if the key has this version")
	return func(s *session, args []string) error {
		query := url.Values{}
		if f.Changed("cas") {
			query.Set("cas", strconv.FormatUint(*cas, 10))
		}
		return s.printAnswer(call{method: http.MethodDelete, path: keyPath(args[0], args[1]), query: query})
	}
}

// kvPage is one page of a list.
type kvPage struct {
	Keys []struct {
		Key    string `json:"key"`
		KeyB64 []byte `json:"key_b64"`
		CAS    uint64 `json:"cas"`
	} `json:"keys"`
	Truncated bool   `json:"truncated"`
	After     string `json:"next_after"`
	AfterB64  []byte `json:"next_after_b64"`
}

func kvList(f *pflag.FlagSet) func(*session, []string) error {
	prefix := f.String("prefix", "", "keys that begin so")
	return func(s *session, args []string) error {
		query := url.Values{"limit": {strconv.Itoa(listLimit)}}
		if *prefix != "" {
			query.Set("prefix", *prefix)
		}
		for {
			var page kvPage
			if done, err := s.get("/kv/"+segment(args[0]), query, &page); done || err != nil {
				return err
			}
			if err := s.printKeys(&page); err != nil || !page.Truncated {
				return err
			}
			query.Set("after", page.After+string(page.AfterB64)) // there is one of the two
		}
	}
}

// printKeys prints cas and key; one that is not UTF-8 comes as it is.
func (s *session) printKeys(page *kvPage) error {
	for _, k := range page.Keys {
		if _, err := fmt.Fprintf(s.Out, "%d\t%s%s\n", k.CAS, k.Key, k.KeyB64); err != nil {
			return err
		}
	}
	return nil
}

// watchOnce prints the data of a stream of events until it ends; last is the id of the last one.
func (s *session) watchOnce(q call, last *string) error {
	q.header = map[string]string{"Accept": "text/event-stream"}
	if *last != "" {
		q.header["Last-Event-ID"] = *last
	}
	resp, err := s.client.open(s.ctx, q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), lineBytesMax)
	id, kind := "", ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			if kind == "error" {
				return fmt.Errorf("the server ended the stream: %s", value)
			}
			if err := s.printJSON([]byte(value)); err != nil {
				return err
			}
		case "":
			kind = ""
			if id != "" {
				*last = id
			}
		}
	}
	return nil // however it ended: the caller asks again
}

func kvWatch(f *pflag.FlagSet) func(*session, []string) error {
	prefix := f.String("prefix", "", "of keys that begin so")
	return func(s *session, args []string) error {
		q := call{method: http.MethodGet, path: "/kv/" + segment(args[0]), query: url.Values{"watch": {"1"}}, repeat: true}
		if *prefix != "" {
			q.query.Set("prefix", *prefix)
		}
		return s.again(func(last *string) error { return s.watchOnce(q, last) })
	}
}

// again repeats a stream that broke, from where it was, until the user has enough.
func (s *session) again(stream func(last *string) error) error {
	last := ""
	for {
		if err := stream(&last); err != nil || s.ctx.Err() != nil {
			return err
		}
		select {
		case <-s.ctx.Done():
			return nil
		case <-time.After(followPause):
		}
	}
}
