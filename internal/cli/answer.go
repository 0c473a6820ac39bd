package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
)

// Asking and printing, the parts that all commands share. An answer is decoded where a table is made of it, and
// printed as it is where it says all that there is to say: the server's JSON is meant to be read by people, too, and
// scripts can rely on it.

// get asks for path and decodes the answer into v, unless it is to be printed as it is.
func (s *session) get(path string, query url.Values, v any) (done bool, err error) {
	return s.ask(call{method: http.MethodGet, path: path, query: query, repeat: true}, v)
}

// post sends a command as JSON and prints the answer.
func (s *session) post(path string, command any) error {
	body, err := json.Marshal(command)
	if err != nil {
		return err
	}
	return s.printAnswer(call{method: http.MethodPost, path: path, body: body})
}

// ask makes a call. done tells that the answer was printed already.
func (s *session) ask(q call, v any) (done bool, err error) {
	body, _, err := s.client.do(s.ctx, q)
	if err != nil {
		return false, err
	}
	if s.json {
		return true, s.printJSON(body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return false, fmt.Errorf("the answer does not decode: %w", err)
	}
	return false, nil
}

// printAnswer makes a call and prints what the server says.
func (s *session) printAnswer(q call) error {
	body, _, err := s.client.do(s.ctx, q)
	if err != nil {
		return err
	}
	return s.printJSON(body)
}

func (s *session) printJSON(body []byte) error {
	_, err := fmt.Fprintf(s.Out, "%s\n", bytes.TrimSpace(body))
	return err
}

// table prints rows in columns; cells are separated by tabs.
func (s *session) table(head string, rows []string) error {
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	for _, r := range rows {
		fmt.Fprintln(w, r)
	}
	return w.Flush()
}

// segment escapes one segment of a path.
func segment(name string) string { return url.PathEscape(name) }

// parseSize reads a number of bytes, with KiB, MiB or GiB behind it if need be.
func parseSize(text string) (uint64, error) {
	for suffix, factor := range map[string]uint64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := bytes.CutSuffix([]byte(text), []byte(suffix)); ok {
			n, err := strconv.ParseUint(string(number), 10, 33)
			if err != nil {
				return 0, usagef("size %q: %v", text, err)
			}
			return n * factor, nil
		}
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, usagef("size %q is not a number of bytes, KiB, MiB or GiB", text)
	}
	return n, nil
}
