package config

import (
	"strings"
	"testing"
)

// resolve parses and resolves.
func resolve(args []string, env ...string) (Config, error) {
	c, err := Parse(args, environment(env...))
	if err != nil {
		return c, err
	}
	return c, c.Resolve()
}

func TestAddresses(t *testing.T) {
	const tokens = "RF_BEARER_TOKENS=t"
	tests := []struct {
		args        string
		env         []string
		listen, tls string
	}{
		{"", nil, "127.0.0.1:1109", ""},
		{"", []string{tokens}, ":1109", ""},
		{"", []string{"RF_BEARER_TOKENS_FILE=f"}, ":1109", ""},
		{"--port=7000", nil, "127.0.0.1:7000", ""},
		{"--port=7000", []string{tokens}, ":7000", ""},
		{"--listen=10.0.0.1:80 --port=7000", []string{tokens}, "10.0.0.1:7000", ""},
		{"--listen=[::1]:80", nil, "[::1]:80", ""},
		{"--listen=localhost:0", nil, "localhost:0", ""},
		{"--listen=127.9.9.9:80", nil, "127.9.9.9:80", ""},
		{"--listen=:80 --dev", nil, ":80", ""},
		{"--dev", nil, "127.0.0.1:1109", ""},
		{"--listen=0.0.0.0:80", []string{tokens}, "0.0.0.0:80", ""},
		{"", []string{"AYDER_LISTEN=127.0.0.1:81"}, "127.0.0.1:81", ""},
		{"", []string{"RF_LISTEN=127.0.0.1:82"}, "127.0.0.1:82", ""},
		{"--tls-cert=c --tls-key=k", nil, "127.0.0.1:1109", "127.0.0.1:1443"},
		{"", []string{tokens, "RF_TLS_CERT=c", "RF_TLS_KEY=k"}, ":1109", ":1443"},
		{"--tls-cert=c --tls-key=k --tls-listen=127.0.0.1:443", nil, "127.0.0.1:1109", "127.0.0.1:443"},
		{"--tls-cert=c --tls-key=k --listen=127.0.0.1:0 --tls-listen=127.0.0.1:0", nil, "127.0.0.1:0", "127.0.0.1:0"},
	}
	for _, tt := range tests {
		c, err := resolve(strings.Fields(tt.args), tt.env...)
		if err != nil || c.Listen != tt.listen || c.TLSListen != tt.tls || c.Port != 0 {
			t.Errorf("%s %v: %q and %q, %v; want %q and %q", tt.args, tt.env, c.Listen, c.TLSListen, err, tt.listen, tt.tls)
		}
	}
}

func TestResolveFaults(t *testing.T) {
	const exposed = ": without tokens the server listens on loopback only"
	tests := []struct {
		args string
		env  []string
		want string
	}{
		{"--listen=:1109", nil, "listen" + exposed},
		{"--listen=0.0.0.0:1109", nil, "listen" + exposed},
		{"--listen=[::]:1109", nil, "listen" + exposed},
		{"--listen=example.org:1109", nil, "listen" + exposed},
		{"--listen=127.0.0.1.example.org:1109", nil, "listen" + exposed},
		{"--tls-cert=c --tls-key=k --tls-listen=:443", nil, "tls-listen" + exposed},
		{"--listen=1109", nil, `listen="1109": want host:port`},
		{"--listen=::1:1109", nil, `listen="::1:1109": want host:port`},
		{"--listen=localhost:http", nil, `listen="localhost:http": the port must be a number from 0 to 65535`},
		{"--listen=localhost:65536", nil, `listen="localhost:65536": the port must be`},
		{"--tls-cert=c", nil, "tls-listen, tls-cert and tls-key go together"},
		{"--tls-key=k", nil, "tls-listen, tls-cert and tls-key go together"},
		{"--tls-listen=localhost:443", nil, "tls-listen, tls-cert and tls-key go together"},
		{"--tls-cert=c --tls-key=k --tls-listen=x", nil, `tls-listen="x": want host:port`},
		{"--tls-cert=c --tls-key=k --tls-listen=127.0.0.1:1109", nil, "listen and tls-listen are both 127.0.0.1:1109"},
		{"--bearer-tokens-file=f", []string{"RF_BEARER_TOKENS=t"}, "RF_BEARER_TOKENS and bearer-tokens-file are both set"},
		{"--cors-origin=example.org", nil, `cors-origin: "example.org" is not scheme://host[:port]`},
		{"--cors-origin=https://a.example/", nil, `cors-origin: "https://a.example/" is not`},
		{"--cors-origin=https://a.example,,https://b.example", nil, `cors-origin: "" is not`},
		{"--cors-origin=https://A.example", nil, `cors-origin: "https://A.example" is not`},
		{"--cors-origin=*,https://a:b@c.example", nil, `cors-origin: "https://a:b@c.example" is not`},
		{"--cors-origin=" + strings.Repeat("https://a.example,", 255) + "*", nil, "cors-origin: more than 255 origins"},
		{"--request-line-bytes=64KiB", nil, "request-line-bytes (64KiB) is more than head-bytes (32KiB)"},
		{"--body-bytes=17MiB", nil, "segment-bytes (64MiB) is less than 4 times body-bytes (17MiB)"},
	}
	for _, tt := range tests {
		if _, err := resolve(strings.Fields(tt.args), tt.env...); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.args, err, tt.want)
		}
	}
}

func TestResolveReportsAllFaultsAtOnce(t *testing.T) {
	_, err := resolve(strings.Fields("--listen=:1 --tls-cert=c --request-line-bytes=64KiB --body-bytes=1GiB"))
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("want four lines, got %v", err)
	}
}

func TestResolveTwiceChangesNothing(t *testing.T) {
	c, err := resolve([]string{"--port=7", "--loops=3"}, "RF_TLS_CERT=c", "RF_TLS_KEY=k")
	if err != nil {
		t.Fatal(err)
	}
	again := c
	if err := again.Resolve(); err != nil || again != c {
		t.Errorf("%+v became %+v, %v", c, again, err)
	}
	if c.Loops != 3 {
		t.Errorf("%d loops", c.Loops)
	}
}
