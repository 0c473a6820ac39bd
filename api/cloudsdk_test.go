package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/client"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// The CloudEvents project's own SDK, both ways: what its client sends is stored, and its reader understands what is given back.

// bearer puts the token on what the SDK sends.
type bearer struct{ next http.RoundTripper }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer dev")
	return b.next.RoundTrip(r)
}

// sdkEvents are one event of every kind of data.
func sdkEvents(t *testing.T, mode string) (events []cloudevents.Event) {
	t.Helper()
	for i, data := range []struct {
		media string
		value any
	}{
		{cloudevents.ApplicationJSON, map[string]any{"amount": 12.5, "tags": []any{"a", "b"}}},
		{cloudevents.ApplicationJSON, "just a string"},
		{cloudevents.TextPlain, []byte("text, with ünïcode\nand lines")},
		{"application/octet-stream", []byte{0, 1, 2, 255}},
		{cloudevents.ApplicationXML, []byte("<much wow=\"xml\"/>")},
		{"", nil},
	} {
		e := cloudevents.New()
		e.SetID(mode + "-" + strconv.Itoa(i))
		e.SetSource("https://example.com/shop?x=1#y")
		e.SetType("com.example.order")
		e.SetSubject("order/" + strconv.Itoa(i))
		e.SetTime(time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.FixedZone("", 3600)))
		e.SetDataSchema("https://example.com/schema.json")
		e.SetExtension("partitionkey", "k")
		e.SetExtension("comexample", "value")
		if data.value != nil {
			if err := e.SetData(data.media, data.value); err != nil {
				t.Fatal(err)
			}
		}
		events = append(events, e)
	}
	return events
}

func TestCloudEventsSDK(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.createTopic("sdk", 1)
		target := f.url + "/cloudevents/sdk"
		transport := bearer{&http.Transport{DisableKeepAlives: true}}
		c, err := client.NewHTTP(cehttp.WithTarget(target), cehttp.WithRoundTripper(transport))
		if err != nil {
			t.Fatal(err)
		}
		var sent []cloudevents.Event
		modes := map[string]func(context.Context) context.Context{"structured": binding.WithForceStructured, "binary": binding.WithForceBinary}
		for _, mode := range []string{"structured", "binary"} {
			for _, e := range sdkEvents(t, mode) {
				if result := c.Send(modes[mode](t.Context()), e); !protocol.IsACK(result) {
					t.Fatalf("%s: %v", mode, result)
				}
				sent = append(sent, e)
			}
		}
		batch := sdkEvents(t, "batch")
		req, err := cehttp.NewHTTPRequestFromEvents(t.Context(), target, batch)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		_ = resp.Body.Close()
		sent = append(sent, batch...)

		resp, err = (&http.Client{Transport: transport}).Get(target + "?limit=1000")
		if err != nil {
			t.Fatal(err)
		}
		got, err := cehttp.NewEventsFromHTTPResponse(resp)
		_ = resp.Body.Close()
		if err != nil || len(got) != len(sent) {
			t.Fatalf("%d of %d events, %v", len(got), len(sent), err)
		}
		for i := range sent {
			sameEvent(t, &got[i], &sent[i])
		}
	})
}

// sameEvent compares what the SDK read with what it sent.
func sameEvent(t *testing.T, got, sent *cloudevents.Event) {
	t.Helper()
	if err := got.Validate(); err != nil {
		t.Errorf("%s: %v", sent.ID(), err)
	}
	for _, pair := range [][2]string{
		{got.ID(), sent.ID()},
		{got.Source(), sent.Source()},
		{got.Type(), sent.Type()},
		{got.Subject(), sent.Subject()},
		{got.DataSchema(), sent.DataSchema()},
		{got.DataContentType(), sent.DataContentType()},
		{got.SpecVersion(), sent.SpecVersion()},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q instead of %q", sent.ID(), pair[0], pair[1])
		}
	}
	if !got.Time().Equal(sent.Time()) || len(got.Extensions()) != 2 || got.Extensions()["comexample"] != "value" || got.Extensions()["partitionkey"] != "k" {
		t.Errorf("%s: %v, %v", sent.ID(), got.Time(), got.Extensions())
	}
	var a, b any
	same := bytes.Equal(got.Data(), sent.Data())
	if json.Unmarshal(got.Data(), &a) == nil && json.Unmarshal(sent.Data(), &b) == nil {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		same = slices.Equal(x, y)
	}
	if !same {
		t.Errorf("%s: data %q instead of %q", sent.ID(), got.Data(), sent.Data())
	}
}
