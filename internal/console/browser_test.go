package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ayder/internal/testkit/proc"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A headless Chromium for the tests of this package, and real servers. The browser starts with the first test that needs it;
// each test has a tab of its own. Nothing here waits for a time: a test waits until a condition holds, for as long as
// a machine under load may need.

const patience = 60 * time.Second

var chromium struct {
	once sync.Once
	ctx  context.Context
	stop []func()
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, stop := range chromium.stop {
		stop()
	}
	if shared.s != nil {
		_ = shared.s.Kill()
	}
	if dir, err := proc.Scratch(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

func startChromium() {
	dir, err := os.MkdirTemp("", "ayder-console-")
	if err != nil {
		chromium.err = err
		return
	}
	options := append(
		chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(dir),
		chromedp.Flag("disable-quic", true), chromedp.Flag("force-prefers-reduced-motion", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1280, 900),
	)
	ctx, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stopBrowser := chromedp.NewContext(ctx)
	chromium.ctx, chromium.stop = ctx, []func(){stopBrowser, stopAllocator, func() { _ = os.RemoveAll(dir) }}
	chromium.err = chromedp.Do(ctx, chromedp.Navigate("about:blank"))
}

// tab is a page of the browser.
type tab struct {
	*testing.T
	ctx    context.Context
	errors *problems
}

// problems are what a page reported to the browser's console. Everything is: a violation of the policy, too.
type problems struct {
	mu   sync.Mutex
	list []string
}

// newTab opens a tab, or skips the test where there is no Chromium.
func newTab(t *testing.T) *tab {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		if _, err = exec.LookPath("chromium-browser"); err != nil {
			t.Skip("there is no chromium")
		}
	}
	chromium.once.Do(startChromium)
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}
	ctx, stop := chromedp.NewContext(chromium.ctx)
	t.Cleanup(stop)
	p := &tab{t, ctx, &problems{}}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	go func() {
		for m, err := range chromedp.Console(ctx) {
			if err != nil {
				return
			}
			p.errors.mu.Lock()
			p.errors.list = append(p.errors.list, fmt.Sprintf("%+v", m))
			p.errors.mu.Unlock()
		}
	}()
	return p
}

// open goes to a view with a token in the session storage.
func (p *tab) open(addr, token, view string) {
	p.Helper()
	p.do(chromedp.Navigate("http://" + addr + "/health"))
	p.run(fmt.Sprintf(`sessionStorage.setItem("ayder.token", %q)`, token))
	p.do(chromedp.Navigate("http://" + addr + "/console" + view))
}

// view goes to another view inside the console.
func (p *tab) view(hash string) {
	p.Helper()
	p.run(fmt.Sprintf(`location.hash = %q`, hash))
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.Fatal(err)
	}
}

// run evaluates a statement; a promise is waited for.
func (p *tab) run(script string) { p.Helper(); p.ask(`(async () => { ` + script + `; return "" })()`) }

// ask evaluates an expression and returns its value as text.
func (p *tab) ask(expression string) string {
	p.Helper()
	v, err := p.try(expression)
	if err != nil {
		p.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (p *tab) try(expression string) (string, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string](`Promise.resolve(`+expression+`).then(String)`, chromedp.EvalAwaitPromise))
}

// until waits until an expression is true.
func (p *tab) until(condition string) {
	p.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(30 * time.Millisecond) {
		v, err := p.try(`!!(` + condition + `)`)
		if err == nil && v == "true" {
			return
		}
		if time.Now().After(deadline) {
			page, _ := p.try(`document.body.innerText`)
			p.Fatalf("never true: %s (%v)\nproblems: %q\nthe page:\n%s", condition, err, p.problems(), page)
		}
	}
}

// sees waits until a text is shown in the view, or in a dialog.
func (p *tab) sees(text string) {
	p.Helper()
	p.until(fmt.Sprintf(`document.body.innerText.includes(%s)`, quoted(text)))
}

// press clicks the button, link or summary with a label.
func (p *tab) press(label string) {
	p.Helper()
	p.until(fmt.Sprintf(`(() => {
		const dialog = [...document.querySelectorAll('dialog[open]')].at(-1);
		const places = dialog ? [dialog] : [document.querySelector('main'), document];
		const found = places.flatMap((place) => [...place.querySelectorAll('button, a, summary')])
			.filter((b) => b.textContent.trim() === %s && !b.disabled && b.checkVisibility());
		found[0]?.focus();
		found[0]?.click();
		return found.length > 0;
	})()`, quoted(label)))
}

// fill sets the control with a label, as typing does.
func (p *tab) fill(label, value string) {
	p.Helper()
	p.until(fmt.Sprintf(`(() => {
		const inside = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
		const found = [...inside.querySelectorAll('label')].filter((l) => l.textContent === %s && l.control?.checkVisibility());
		if (!found.length) return false;
		const control = found.at(-1).control;
		control.focus();
		control.value = %s;
		control.dispatchEvent(new Event('input', { bubbles: true }));
		control.dispatchEvent(new Event('change', { bubbles: true }));
		return true;
	})()`, quoted(label), quoted(value)))
}

// keys presses keys, one after the other, wherever the focus is.
func (p *tab) keys(keys ...string) {
	p.Helper()
	for _, k := range keys {
		p.do(chromedp.KeyEvent(k))
	}
}

// size makes the page so many pixels wide.
func (p *tab) size(width, height int64) { p.Helper(); p.do(chromedp.EmulateViewport(width, height)) }

// problems are what the page has complained about so far, without the failed requests that a test causes on purpose.
func (p *tab) problems() (list []string) {
	p.errors.mu.Lock()
	defer p.errors.mu.Unlock()
	for _, m := range p.errors.list {
		if !strings.Contains(m, "Failed to load resource") {
			list = append(list, m)
		}
	}
	return list
}

// mustBeClean ends a test: nothing was reported.
func (p *tab) mustBeClean() {
	p.Helper()
	for _, m := range p.problems() {
		p.Error(m)
	}
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

const (
	tabKey = kb.Tab
	enter  = kb.Enter
	escape = kb.Escape
)

// tokens are what the servers accept: "dev", and some that may do less.
var tokens = []string{"RF_BEARER_TOKENS=dev:reader@read:writer@write:scoped@read+write+admin/team-"}

// smallSegments let a server start at once.
var smallSegments = []string{"--segment-bytes", "8MiB", "--body-bytes", "2MiB", "--tail-bytes", "16MiB"}

// shared is the server of the tests that do not mind each other's topics: starting one takes a second.
var shared struct {
	once sync.Once
	s    *proc.Server
	err  error
}

func server(t *testing.T) *proc.Server {
	t.Helper()
	bin := proc.Binary(t)
	shared.once.Do(func() {
		dir, err := proc.Scratch()
		if err == nil {
			shared.s, err = proc.Start(proc.Options{Bin: bin, Dir: filepath.Join(dir, "console"), Args: smallSegments, Env: tokens})
		}
		shared.err = err
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.s
}

// ownServer is for tests that count everything, or end it.
func ownServer(t *testing.T) *proc.Server {
	t.Helper()
	return proc.Run(t, proc.Options{Args: smallSegments, Env: tokens})
}

// post calls the server, as a client besides the console would.
func post(t *testing.T, s *proc.Server, target, body string) {
	t.Helper()
	r, err := s.Connect(t).Post(target, []byte(body))
	if err != nil || r.Status >= 300 {
		t.Fatalf("%s: %v %v", target, r, err)
	}
}

func navigate(address string) chromedp.Action[chromedp.Void] { return chromedp.Navigate(address) }
