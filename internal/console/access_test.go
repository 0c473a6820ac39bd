package console_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ayder/docs"
	"ayder/internal/testkit/proc"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// The console is for everybody: with the keyboard alone, on a phone, in the dark, by voice.

// views are all pages, as a server has them that furnish has filled.
var views = []string{
	"#/", "#/topics", "#/topics/orders", "#/groups", "#/groups/billing", "#/tail/orders/0", "#/produce/orders", "#/kv", "#/kv/settings/theme", "#/latency",
}

// furnish gives a server something of everything.
func furnish(t *testing.T, s *proc.Server) {
	t.Helper()
	for i := range 5 {
		post(t, s, "/broker/topics/orders/produce?partition=0&key=customer-7", fmt.Sprintf(`{"order":%d,"amount":12.5}`, i))
	}
	post(t, s, "/broker/topics/a-topic-with-a-name-that-is-rather-long-for-a-phone.events.v2/produce?partition=0", "x")
	post(t, s, "/broker/commit", `{"topic":"orders","group":"billing","partition":0,"offset":2}`)
	post(t, s, "/broker/groups/billing/join", `{"member":"worker-1","topics":["orders"],"session_ms":300000}`)
	post(t, s, "/kv/settings/theme", `{"dark":true}`)
	post(t, s, "/kv/settings/"+strings.Repeat("long", 40), strings.Repeat("value", 100))
}

// shown goes to a view and waits until it has what it shows.
func (p *tab) shown(view string) {
	p.Helper()
	p.view("#/none")
	p.until(`document.querySelector("main").dataset.view === "overview"`)
	p.view(view)
	ready := map[string]string{
		"#/": "Commit index", "#/topics": "orders", "#/topics/orders": "billing", "#/groups": "billing", "#/groups/billing": "worker-1",
		"#/tail/orders/0": "Following", "#/produce/orders": "Add a header", "#/kv": "theme", "#/kv/settings/theme": "Value (JSON)", "#/latency": "The same as a table",
	}[view]
	p.sees(ready)
	switch view {
	case "#/latency":
		p.until(`document.querySelector(".plot")`)
	case "#/tail/orders/0":
		p.fill("From", "earliest")
		p.sees("customer-7")
		p.run(`document.querySelector("details").open = true`)
	case "#/produce/orders":
		p.press("Add a header")
	}
}

// TestNothingScrollsSideways at the narrowest width that pages must still work at (WCAG 2.2, 1.4.10), and at others.
func TestNothingScrollsSideways(t *testing.T) {
	s := ownServer(t)
	furnish(t, s)
	p := newTab(t)
	p.open(s.Addr, "dev", "#/")
	p.run(`sessionStorage.setItem("ayder.namespaces", '["settings"]')`)
	for _, width := range []int64{320, 700, 1280} {
		p.size(width, 700)
		for _, view := range views {
			p.shown(view)
			if wide := p.ask(`document.documentElement.scrollWidth > innerWidth`); wide != "false" {
				t.Errorf("%s at %d is too wide: %s", view, width, p.ask(`[...document.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.tagName + "." + e.className).slice(0, 5).join(" ")`))
			}
		}
	}
	p.size(320, 700)
	p.view("#/topics")
	p.until(`!document.querySelector("nav").checkVisibility()`)
	p.press("Menu")
	p.press("Groups")
	p.until(`document.querySelector("h1").textContent === "Groups" && !document.querySelector("nav").checkVisibility()`)
	p.mustBeClean()
}

// TestKeyboardAlone does a day's work without a mouse.
func TestKeyboardAlone(t *testing.T) {
	s := ownServer(t)
	p := newTab(t)
	p.do(navigate("http://" + s.Addr + "/console"))
	p.until(`document.activeElement.type === "password"`)
	p.keys("dev", enter)
	p.sees("Commit index")
	p.keys(tabKey)
	p.until(`document.activeElement.id === "skip" && document.activeElement.getBoundingClientRect().top >= 0`)
	p.keys(enter)
	p.until(`document.activeElement.id === "main"`)
	p.to("Topics")
	p.keys(enter)
	p.until(`document.activeElement.textContent === "Topics" && document.activeElement.tagName === "H1"`)
	p.to("Create a topic")
	p.keys(enter)
	p.until(`document.activeElement.labels?.[0].textContent === "Name"`)
	p.keys("typed", tabKey, tabKey, tabKey, tabKey)
	for range 12 { // the focus stays in the dialog, or goes to the browser's own controls
		p.keys(tabKey)
		p.until(`document.activeElement === document.body || document.activeElement.closest("dialog")`)
	}
	p.until(`document.querySelector("dialog[open]")`)
	p.run(`document.querySelector("dialog input").focus()`)
	p.keys(enter)
	p.sees("Topic typed is created.")
	p.until(`document.activeElement.textContent === "Create a topic"`)
	p.to("typed")
	p.keys(enter)
	p.until(`document.activeElement.tagName === "H1" && document.activeElement.textContent === "typed"`)
	p.to("Produce")
	p.keys(enter)
	p.until(`document.activeElement.tagName === "H1" && document.activeElement.textContent === "Produce"`)
	p.until(`document.querySelector("textarea")`)
	p.to("Value")
	p.keys("hello")
	p.to("Produce")
	p.keys(enter)
	p.sees("offset 0. Durable")
	p.until(`document.querySelector("#news").textContent.startsWith("Written to partition")`)
	p.mustBeClean()
}

// to moves the focus on by the tabulator until it is on the control with a label, in the view if there is one.
func (p *tab) to(label string) {
	p.Helper()
	for range 80 {
		p.keys(tabKey)
		at := p.ask(`(document.activeElement.labels?.[0] ?? document.activeElement).textContent`)
		if at != label {
			continue
		}
		if p.ask(`!document.activeElement.matches(":focus-visible") || getComputedStyle(document.activeElement).outlineStyle === "none"`) == "true" {
			p.Fatalf("the focus on %q cannot be seen", label)
		}
		if p.ask(`!!document.activeElement.closest("main") || document.activeElement.closest("nav") !== null && `+quoted(label)+` === "Topics"`) == "true" {
			return
		}
	}
	p.Fatalf("the keyboard does not lead to %q", label)
}

// TestAxe has axe-core look at every view, light and dark, wide and narrow: it finds nothing.
func TestAxe(t *testing.T) {
	axe := axeCore(t)
	s := ownServer(t)
	furnish(t, s)
	p := newTab(t)
	p.open(s.Addr, "dev", "#/")
	p.run(`sessionStorage.setItem("ayder.namespaces", '["settings"]')`)
	p.run(axe)
	for _, theme := range themes {
		p.run(`document.documentElement.dataset.theme = ` + quoted(theme))
		for _, width := range widths {
			p.size(width, 800)
			for _, view := range views {
				p.shown(view)
				p.look(fmt.Sprintf("%s, %s, %d", view, theme, width))
			}
			p.view("#/topics")
			p.press("Create a topic")
			p.look(fmt.Sprintf("a dialog, %s, %d", theme, width))
			p.keys(escape)
			if width < 800 {
				p.press("Menu")
				p.look("the menu, " + theme)
				p.press("Menu")
			}
		}
	}
}

// TestAxeDocs has it look at the pages of the documentation, which follow the system's colours.
func TestAxeDocs(t *testing.T) {
	axe := axeCore(t)
	s := ownServer(t)
	p := newTab(t)
	for _, name := range append(docs.Names(), "errors") {
		p.do(chromedp.Navigate("http://" + s.Addr + strings.TrimSuffix("/docs/"+name, "/")))
		p.run(axe)
		for _, theme := range themes {
			p.prefers(theme)
			for _, width := range widths {
				p.size(width, 800)
				where := fmt.Sprintf("/docs/%s, %s, %d", name, theme, width)
				p.look(where)
				if p.ask(`document.documentElement.scrollWidth > innerWidth`) == "true" {
					p.Errorf("%s: wider than the screen", where)
				}
			}
		}
	}
}

var (
	themes = []string{"light", "dark"}
	widths = []int64{1280, 320}
)

// axeCore is the text of axe-core, without which the test is skipped.
func axeCore(t *testing.T) string {
	t.Helper()
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("AYDER_AXE")
	if path == "" {
		path = filepath.Join(root, "tools/web/node_modules/axe-core/axe.min.js")
	}
	axe, err := os.ReadFile(path)
	if err != nil {
		t.Skip("there is no axe-core: npm ci --prefix tools/web")
	}
	return string(axe)
}

// prefers has the system prefer a colour scheme.
func (p *tab) prefers(scheme string) {
	p.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, media); err != nil {
		p.Fatal(err)
	}
}

// look has axe judge the page.
func (p *tab) look(where string) {
	p.Helper()
	found := p.ask(`axe.run(document, { resultTypes: ["violations"] }).then((r) =>
		r.violations.map((v) => v.impact + " " + v.id + ": " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + n.failureSummary).join(" | ")).join("\n"))`)
	if found != "" {
		p.Errorf("%s:\n%s", where, found)
	}
}
