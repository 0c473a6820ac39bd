package console_test

import (
	"fmt"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// Every view does its job, in a real browser against a real server.

func TestSignIn(t *testing.T) {
	s := server(t)
	p := newTab(t)
	p.do(navigate("http://" + s.Addr + "/console"))
	p.until(`document.activeElement.type === "password"`)
	p.keys("wrong", enter)
	p.sees("does not accept this token")
	p.keys("dev", enter)
	p.sees("single node · ready")
	if where := p.ask(`location.href`); strings.Contains(where, "dev") {
		t.Errorf("the token is in the address %s", where)
	}
	if kept := p.ask(`JSON.stringify(localStorage) + document.cookie`); kept != "{}" {
		t.Errorf("kept beyond the tab: %s", kept)
	}
	p.press("Sign out")
	p.until(`document.querySelector("dialog[open] input") && sessionStorage.length === 0`)
}

// A token that stops being accepted is asked for again, over the view that is open.
func TestTokenThatIsReplaced(t *testing.T) {
	s := server(t)
	p := newTab(t)
	p.open(s.Addr, "dev", "#/topics")
	p.sees("Bytes in")
	p.run(`sessionStorage.setItem("ayder.token", "expired")`)
	p.sees("does not accept this token")
	p.fill("Token", "dev")
	p.press("Sign in")
	post(t, s, "/broker/topics", `{"name":"later","partitions":1}`)
	p.sees("later")
}

func TestOverview(t *testing.T) {
	s := ownServer(t)
	p := newTab(t)
	p.open(s.Addr, "dev", "")
	p.sees("Commit index")
	p.sees("single (this node)")
	p.sees(" free")
	c := s.Connect(t)
	for range 50 {
		if _, err := c.Produce("busy", 0, []byte("message")); err != nil {
			t.Fatal(err)
		}
	}
	p.sees("50 since the start")
	p.mustBeClean()
}

func TestTopics(t *testing.T) {
	s := server(t)
	p := newTab(t)
	p.open(s.Addr, "dev", "#/topics")
	p.press("Create a topic")
	p.fill("Name", "orders")
	p.fill("Partitions", "3")
	p.fill("Keep messages for (hours)", "1.5")
	p.press("Create")
	p.sees("Topic orders is created.")
	post(t, s, "/broker/topics/orders/produce?partition=1", "hello")
	post(t, s, "/broker/commit", `{"topic":"orders","group":"billing","partition":1,"offset":1}`)
	p.press("orders")
	p.sees("Kept for 1.5 h.")
	p.sees("billing")
	p.until(`document.querySelectorAll("main table")[0].querySelectorAll("tbody tr").length === 3`)
	if focused := p.ask(`document.activeElement.textContent`); focused != "orders" {
		t.Errorf("the focus is on %q, not on the heading", focused)
	}
	p.press("Delete")
	p.fill("Type orders to confirm", "order")
	p.press("Delete the topic")
	p.sees("That is not orders.")
	p.fill("Type orders to confirm", "orders")
	p.press("Delete the topic")
	p.sees("Topic orders is deleted.")
	p.until(`document.querySelector("h1").textContent === "Topics" && ![...document.querySelectorAll("tbody a")].some((a) => a.textContent === "orders")`)
	p.mustBeClean()
}

// What the server refuses is said in its words, and the dialog stays.
func TestTopicThatIsRefused(t *testing.T) {
	s := server(t)
	post(t, s, "/broker/topics", `{"name":"taken","partitions":1}`)
	p := newTab(t)
	p.open(s.Addr, "dev", "#/topics")
	p.press("Create a topic")
	p.fill("Name", "taken")
	p.press("Create")
	p.sees("exists with other settings")
	p.until(`document.querySelector("dialog[open]")`)
	p.keys(escape)
	p.until(`!document.querySelector("dialog") && document.activeElement.textContent === "Create a topic"`)
}

func TestGroups(t *testing.T) {
	s := server(t)
	for range 3 {
		post(t, s, "/broker/topics/bills/produce?partition=0", "x")
	}
	post(t, s, "/broker/commit", `{"topic":"bills","group":"payers","partition":0,"offset":1}`)
	post(t, s, "/broker/groups/team/join", `{"member":"worker-1","topics":["bills"],"session_ms":300000}`)
	p := newTab(t)
	p.open(s.Addr, "dev", "#/groups")
	p.sees("payers")
	p.press("payers")
	p.sees("2 messages behind")
	p.sees("who reads in this group commits offsets")
	p.view("#/groups/team")
	p.sees("worker-1")
	p.sees("bills/0, bills/1")
	p.mustBeClean()
}

func TestProduce(t *testing.T) {
	s := server(t)
	p := newTab(t)
	p.open(s.Addr, "dev", "#/produce")
	p.fill("Topic", "letters")
	p.fill("Partition", "2")
	p.fill("Key", "café & co")
	p.press("Add a header")
	p.fill("Name", "Source")
	p.run(`document.querySelector(".header-value").value = "web"`)
	p.run(`document.querySelector("textarea").value = '{"a": 1}'`)
	p.press("Produce")
	p.sees("Partition 2, offset 0. Durable")
	p.sees("Wait for the disk")
	c := s.Connect(t)
	page, err := c.Consume("letters", 2, 0, "")
	if err != nil || page.Count != 1 {
		t.Fatal(page, err)
	}
	r, err := c.Get("/broker/consume/letters/g/2?offset=0")
	if err != nil || !strings.Contains(string(r.Body), `"value":"{\"a\": 1}","key":"café & co"`) || !strings.Contains(string(r.Body), `{"Source":"web"}`) {
		t.Fatalf("%s %v", r.Body, err)
	}
	p.fill("Value is", "hex")
	p.run(`document.querySelector("textarea").value = "00 FF 1"`)
	p.press("Produce")
	p.sees("two digits per byte")
	p.run(`document.querySelector("textarea").value = "00 FF 10"`)
	p.press("Produce")
	p.sees("Partition 2, offset 1.")
	mustFind(t, s, "letters", 2, 1, []byte{0, 255, 16})
	p.mustBeClean()
}

func mustFind(t *testing.T, s *proc.Server, topic string, partition int, offset uint64, want []byte) {
	t.Helper()
	page, err := s.Connect(t).Consume(topic, partition, offset, "&limit=1")
	if err != nil || page.Count != 1 || string(page.Messages[0].ValueB64) != string(want) {
		t.Fatalf("%+v %v", page, err)
	}
}

func TestKeys(t *testing.T) {
	s := server(t)
	for i := range 60 {
		post(t, s, fmt.Sprintf("/kv/settings/app/%03d", i), `{"on":true}`)
	}
	post(t, s, "/kv/settings/odd%FFkey", "\x00\x01binary")
	p := newTab(t)
	p.open(s.Addr, "dev", "#/kv")
	p.fill("Namespace", "settings")
	p.fill("Prefix", "app/")
	p.press("Show")
	p.sees("50 keys on this page")
	p.press("Next page")
	p.sees("10 keys on this page")
	p.sees("app/059")
	p.press("app/059")
	p.sees("Value (JSON)")
	p.press("Change")
	p.fill("Value", "changed")
	p.fill("Expires in (seconds)", "3600")
	post(t, s, "/kv/settings/app/059", "meanwhile")
	p.press("Write")
	p.sees("Somebody has changed it meanwhile: its CAS is 2 now.")
	p.keys(escape)
	p.view("#/kv/settings/app%2F058")
	p.until(`document.querySelector("h1").textContent === "app/058"`)
	p.press("Change")
	p.fill("Value", "changed")
	p.fill("Expires in (seconds)", "3600")
	p.press("Write")
	p.sees("Written; its CAS is now 2.")
	p.until(`document.querySelector("pre").textContent === "changed" && document.body.innerText.includes("min")`)
	p.press("Delete")
	p.fill("Type app/058 to confirm", "app/058")
	p.press("Delete the key")
	p.sees("The key app/058 is deleted.")
	p.fill("Prefix", "odd")
	p.press("Show")
	p.press("0x 6f 64 64 ff 6b 65 79")
	p.sees("Value (binary)")
	p.sees("0000  00 01 62 69")
	p.mustBeClean()
}

func TestLatency(t *testing.T) {
	s := ownServer(t)
	c := s.Connect(t)
	for range 200 {
		if _, err := c.Produce("busy", 0, []byte("message")); err != nil {
			t.Fatal(err)
		}
	}
	p := newTab(t)
	p.open(s.Addr, "dev", "#/latency")
	p.until(`document.querySelectorAll(".plot polyline").length >= 4`)
	p.until(`document.querySelector("select").value === "POST /broker/topics/{topic}/produce"`)
	p.until(`document.querySelector("tbody tr").innerText.includes("200")`)
	if at := p.ask(`document.querySelector(".plot").ariaLabel`); !strings.Contains(at, "the table below") {
		t.Errorf("the plot is called %q", at)
	}
	p.press("Start anew")
	p.sees("Measuring starts anew.")
	p.mustBeClean()
}

// TestHostileTexts: whatever a name or a value is, it is shown and does nothing.
func TestHostileTexts(t *testing.T) {
	const hostile = `"><img src=x onerror="window.hit=1"><script>window.hit=1</script>`
	s := server(t)
	escaped := `%22%3E%3Cimg%20src=x%20onerror=%22window.hit=1%22%3E%3Cscript%3Ewindow.hit=1%3C%2Fscript%3E`
	post(t, s, "/broker/topics/hostile/produce?partition=0&key="+escaped, hostile)
	post(t, s, "/kv/hostile/"+escaped, hostile)
	p := newTab(t)
	p.open(s.Addr, "dev", "#/tail/hostile/0")
	p.fill("From", "earliest")
	p.sees(`<script>window.hit=1`)
	p.run(`document.querySelector("details").open = true`)
	p.sees("Value (text)")
	p.view("#/kv/hostile")
	p.press(hostile)
	p.until(`document.querySelector("h1").textContent.includes("onerror") && document.querySelector("pre")`)
	p.view("#/topics/" + escaped)
	p.until(`document.querySelector("h1").textContent.includes("onerror")`)
	p.view("#/" + escaped)
	p.sees("Commit index")
	if p.ask(`String(window.hit) + document.querySelectorAll("main img, main script, dialog script").length`) != "undefined0" {
		t.Error("a text of the server became a part of the page")
	}
	p.mustBeClean()
}

// What a token may not do is said in words, and the rest works.
func TestScopesThatAreMissing(t *testing.T) {
	s := server(t)
	post(t, s, "/broker/topics", `{"name":"rights","partitions":1}`)
	p := newTab(t)
	p.open(s.Addr, "reader", "#/topics")
	p.press("Create a topic")
	p.fill("Name", "x")
	p.press("Create")
	p.sees("Your token is not enough for this: the token has not the role admin")
	p.open(s.Addr, "writer", "#/topics")
	p.sees("Your token is not enough for this: the token has not the role read")
	p.view("#/produce/rights")
	p.fill("Value", "written blindly")
	p.press("Produce")
	p.sees("offset 0. Durable")
	p.open(s.Addr, "scoped", "#/topics")
	p.sees("There is no topic yet")
}
