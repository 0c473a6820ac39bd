package api

import (
	"fmt"
	"strings"
	"testing"

	"ayder/internal/auth"
)

// A token that reaches some topics learns the names of no others, metrics included.
func TestMetricsShowOnlyTopicsInReach(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.Tokens.Swap(mustTokens(t, "dev:narrow@read/allowed.")) })
	f.call("POST", "/broker/topics/allowed.a/produce?partition=0", "x")
	f.call("POST", "/broker/topics/secret/produce?partition=0", "x")
	for _, topic := range []string{"allowed.a", "secret"} {
		f.call("POST", "/broker/commit", fmt.Sprintf(`{"topic":%q,"group":"g","partition":0,"offset":0}`, topic))
	}
	_, text, _ := f.raw("GET", "/metrics", "", "Authorization", "Bearer narrow")
	if !strings.Contains(string(text), `ayder_group_lag_messages{group="g",partition="0",topic="allowed.a"} 1`) || strings.Contains(string(text), "secret") {
		t.Fatal("the series shown are not those that the token reaches")
	}
	if _, text, _ = f.raw("GET", "/metrics", ""); !strings.Contains(string(text), `topic="secret"`) {
		t.Fatal("a token without a prefix sees less than everything")
	}
}

func mustTokens(t *testing.T, text string) *auth.Tokens {
	t.Helper()
	tokens, err := auth.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}
