package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/pflag"
)

// Queries, joins, schemas and pipelines. Their requests are JSON that somebody wrote down: a file goes to the server as it is, so that what
// works with curl works here, and the server's word is the only one on what is wrong with it. A query changes nothing, so
// it is asked again where the server had no room for it.

var queryCommands = []command{
	{name: "query", args: "FILE|-", count: [2]int{1, 1}, help: "Filter and aggregate stored messages; FILE is the request's JSON", build: queryOf("/broker/query")},
	{name: "join", args: "FILE|-", count: [2]int{1, 1}, help: "Join the messages of two streams; FILE is the request's JSON", build: queryOf("/broker/join")},
	{name: "schema add", args: "FILE|-", count: [2]int{1, 1}, help: "Register an Avro schema, a .proto file or a compiled set of descriptors", build: schemaAdd},
	{name: "schema get", args: "ID", count: [2]int{1, 1}, help: "Show a schema's text", build: schemaGet},
	{name: "schema list", count: [2]int{0, 0}, help: "List the schemas", build: schemaList},
	{name: "pipeline create", args: "FILE|-", count: [2]int{1, 1}, help: "Have a query or join run for good; FILE is the request's JSON", build: pipelineCreate},
	{name: "pipeline list", count: [2]int{0, 0}, help: "List the pipelines", build: pipelineList},
	{name: "pipeline describe", args: "NAME", count: [2]int{1, 1}, help: "Show a pipeline, its state and its lag", build: pipelineDescribe},
	{name: "pipeline delete", args: "NAME", count: [2]int{1, 1}, help: "Stop a pipeline and forget it; what it has written stays", build: pipelineDelete},
}

// readFile reads a file, or standard input where it is called "-".
func (s *session) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(s.In, lineBytesMax))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, usageError{err}
	}
	return text, nil
}

func queryOf(path string) func(*pflag.FlagSet) func(*session, []string) error {
	return func(f *pflag.FlagSet) func(*session, []string) error {
		timeout := f.Duration("timeout", 0, "how long the server may take (default as long as it allows)")
		return func(s *session, args []string) error {
			body, err := s.readFile(args[0])
			if err != nil {
				return err
			}
			q := call{method: http.MethodPost, path: path, body: body, repeat: true}
			if *timeout > 0 {
				q.query = url.Values{"timeout_ms": {strconv.FormatInt(max(1, timeout.Milliseconds()), 10)}}
			}
			return s.printAnswer(q)
		}
	}
}

func schemaAdd(f *pflag.FlagSet) func(*session, []string) error {
	kind := f.String("type", "", "avro, proto, or descriptors (default by the file's name: .avsc, .proto, anything else)")
	message := f.String("message", "", "the Protobuf message that is meant, where there are several")
	return func(s *session, args []string) error {
		text, err := s.readFile(args[0])
		if err != nil {
			return err
		}
		command := map[string]any{}
		switch schemaType(*kind, args[0]) {
		case "avro":
			command["type"], command["schema_text"] = "avro", string(text)
		case "proto":
			command["type"], command["schema_text"] = "proto", string(text)
		case "descriptors":
			command["type"], command["descriptor_set_b64"] = "proto", base64.StdEncoding.EncodeToString(text)
		default:
			return usagef("--type %q is not avro, proto or descriptors", *kind)
		}
		if *message != "" {
			command["message"] = *message
		}
		body, err := json.Marshal(command)
		if err != nil {
			return err
		}
		return s.printAnswer(call{method: http.MethodPost, path: "/broker/schemas", body: body, repeat: true})
	}
}

// schemaType is the flag, or what the file's name says.
func schemaType(flag, file string) string {
	if flag != "" {
		return flag
	}
	switch filepath.Ext(file) {
	case ".avsc":
		return "avro"
	case ".proto":
		return "proto"
	}
	return "descriptors"
}

func schemaGet(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		if _, err := strconv.ParseUint(args[0], 10, 32); err != nil {
			return usagef("ID: %v", err)
		}
		var sc struct {
			Text        string `json:"schema_text"`
			Descriptors []byte `json:"descriptor_set_b64"`
		}
		if done, err := s.get("/broker/schemas/"+args[0], nil, &sc); done || err != nil {
			return err
		}
		if sc.Text == "" {
			_, err := s.Out.Write(sc.Descriptors)
			return err
		}
		_, err := fmt.Fprintln(s.Out, sc.Text)
		return err
	}
}

func schemaList(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, _ []string) error {
		var answer struct {
			Schemas []struct {
				ID      uint32 `json:"id"`
				Type    string `json:"type"`
				Message string `json:"message"`
			} `json:"schemas"`
		}
		if done, err := s.get("/broker/schemas", nil, &answer); done || err != nil {
			return err
		}
		var rows []string
		for _, sc := range answer.Schemas {
			rows = append(rows, fmt.Sprintf("%d\t%s\t%s", sc.ID, sc.Type, sc.Message))
		}
		return s.table("ID\tTYPE\tMESSAGE", rows)
	}
}

func pipelineCreate(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		body, err := s.readFile(args[0])
		if err != nil {
			return err
		}
		return s.printAnswer(call{method: http.MethodPost, path: "/broker/pipelines", body: body, repeat: true}) // the same again is no other
	}
}

func pipelineList(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, _ []string) error {
		return s.printAnswer(call{method: http.MethodGet, path: "/broker/pipelines", repeat: true})
	}
}

func pipelineDescribe(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		return s.printAnswer(call{method: http.MethodGet, path: "/broker/pipelines/" + segment(args[0]), repeat: true})
	}
}

func pipelineDelete(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		return s.printAnswer(call{method: http.MethodDelete, path: "/broker/pipelines/" + segment(args[0])})
	}
}
