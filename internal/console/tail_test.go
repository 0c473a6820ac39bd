package console_test

import (
	"fmt"
	"testing"
)

// The tail: order, pausing, bounds, and what happens when the server goes.

func TestTail(t *testing.T) {
	s := server(t)
	post(t, s, "/broker/topics/tailed/produce?partition=0&key=k", `{"old":12345678901234567890}`)
	p := newTab(t)
	p.open(s.Addr, "dev", "#/tail/tailed/0")
	p.sees("Following tailed, partition 0.")
	post(t, s, "/broker/topics/tailed/produce?partition=0", "new")
	p.sees("1 message. Following")
	p.press("Pause")
	p.sees("Paused.")
	post(t, s, "/broker/topics/tailed/produce?partition=0", "while paused")
	p.press("Resume")
	p.sees("while paused")
	p.fill("From", "earliest")
	p.sees(`{"old":12345678901234567890}`)
	p.until(`[...document.querySelectorAll(".messages .offset")].map((o) => o.textContent).join() === "2,1,0,2,1"`)
	p.press("Clear")
	p.until(`!document.querySelector(".messages").childElementCount`)
	post(t, s, "/broker/topics/tailed/produce?partition=0", `{"a":[1,{"b":null}],"n":12345678901234567890}`)
	p.until(`document.querySelector(".messages summary")`)
	p.run(`document.querySelector(".messages summary").click()`)
	p.until(`document.querySelector(".messages pre")?.textContent.includes('  "n": 12345678901234567890')`)
	post(t, s, "/broker/topics/tailed/produce?partition=0", "\xff\xfe\x00")
	p.sees("ff fe 00")
	p.fill("Topic", "none")
	p.sees(`does not exist`)
	p.sees("Stopped.")
	p.mustBeClean()
}

// What the tail was to go on with is deleted meanwhile: it says so, and the next start begins anew.
func TestTailBelowTheFloor(t *testing.T) {
	s := server(t)
	post(t, s, "/broker/topics/floored/produce?partition=0", "one")
	p := newTab(t)
	p.open(s.Addr, "dev", "#/tail/floored/0")
	p.sees("Following")
	p.fill("From", "earliest")
	p.sees("1 message. Following")
	p.press("Pause")
	p.sees("Paused.")
	for range 3 {
		post(t, s, "/broker/topics/floored/produce?partition=0", "later")
	}
	post(t, s, "/broker/delete-before", `{"topic":"floored","partition":0,"before_offset":3}`)
	p.press("Resume")
	p.sees("Stopped.")
	p.until(`!document.querySelector("main > .notice").hidden`)
	p.press("Resume")
	p.until(`[...document.querySelectorAll(".messages .offset")].map((o) => o.textContent).join() === "3,0"`)
	p.mustBeClean()
}

// Much more than fits comes at once: the newest rows stay, and the page goes on.
func TestTailIsBounded(t *testing.T) {
	s := server(t)
	var lines []byte
	for i := range 3000 {
		lines = fmt.Appendf(lines, "{\"n\":%d}\n", i)
	}
	post(t, s, "/broker/topics/many/produce-ndjson?partition=0", string(lines))
	p := newTab(t)
	p.open(s.Addr, "dev", "#/tail/many/0")
	p.sees("Following")
	p.fill("From", "earliest")
	p.sees("3,000 messages, of which the last 200 are shown")
	p.until(`document.querySelectorAll(".messages li").length === 200 && document.querySelector(".offset").textContent === "2,999"`)
}

// The server is killed and comes back: every message is shown once, in order.
func TestTailSurvivesTheServer(t *testing.T) {
	s := ownServer(t)
	post(t, s, "/broker/topics/orders/produce?partition=0", "first")
	p := newTab(t)
	p.open(s.Addr, "dev", "#/tail/orders/0")
	p.sees("Following")
	p.fill("From", "earliest")
	p.sees("1 message. Following")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	p.sees("The server cannot be reached.")
	p.until(`document.querySelector("#node").className.includes("bad")`)
	again := s.Again(t)
	post(t, again, "/broker/topics/orders/produce?partition=0", "second")
	p.sees("2 messages. Following")
	p.until(`[...document.querySelectorAll(".messages .offset")].map((o) => o.textContent).join() === "1,0"`)
	p.until(`document.querySelector("#node").className.includes("good") && document.querySelector("main > .notice").hidden`)
}
