package console_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ayder/internal/testkit/proc"

	"github.com/chromedp/chromedp"
)

// Pictures of the console for the documentation, of a cluster at work:
//
//	AYDER_IMAGES=../../docs/images go test ./internal/console -run TestImages
//
// They are not compared with anything: fonts and figures differ from one machine to the next.

func TestImages(t *testing.T) {
	dir := os.Getenv("AYDER_IMAGES")
	if dir == "" {
		t.Skip("AYDER_IMAGES is not set")
	}
	nodes := cluster(t)
	atWork(t, nodes[0])
	p := newTab(t)
	p.size(1280, 800)
	p.open(nodes[0].Addr, "dev", "#/")
	p.run(`sessionStorage.setItem("ayder.namespaces", '["settings"]')`)
	shoot := func(name, theme, view string, width, height int64, ready string) {
		p.size(width, height)
		p.run(`document.documentElement.dataset.theme = ` + quoted(theme) + `; document.getElementById("theme").lastChild.textContent = ` + quoted(theme))
		p.view(view)
		p.until(ready)
		p.run(`document.activeElement.blur(); document.getElementById("news").textContent = ""`)
		p.picture(filepath.Join(dir, "console-"+name+".png"))
	}
	p.until(`document.querySelector(".spark .line")?.points.numberOfItems > 20`)
	shoot("light", "light", "#/", 1280, 680, `document.querySelectorAll("tbody tr").length === 3`)
	shoot("dark", "dark", "#/latency", 1280, 800, `document.querySelectorAll(".plot polyline").length >= 4`)
	shoot("narrow", "light", "#/tail/orders/0", 390, 844, `document.querySelectorAll(".messages li").length > 12`)
	if os.Getenv("AYDER_IMAGES_ALL") == "" {
		return
	}
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 320} {
			for i, view := range views {
				shoot(fmt.Sprintf("all-%s-%d-%d", theme, width, i), theme, view, width, 900, `document.querySelector("h1")`)
			}
		}
	}
}

// picture saves what is to be seen, with a palette: that makes it small.
func (p *tab) picture(path string) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.Fatal(err)
	}
	if small, ok := withPalette(shot); ok {
		shot = small
	}
	if err := os.WriteFile(path, shot, 0o644); err != nil {
		p.Fatal(err)
	}
	p.Logf("%s: %d kB", path, len(shot)/1000)
}

// withPalette encodes a picture with the 256 colours that it has most of; the rest becomes the nearest of them.
func withPalette(shot []byte) ([]byte, bool) {
	from, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, false
	}
	times := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(from.At(x, y)).(color.RGBA) }
	b := from.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			times[at(x, y)]++
		}
	}
	to := image.NewPaletted(b, mostOf(times, 256))
	nearest := map[color.RGBA]uint8{}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := at(x, y)
			if _, known := nearest[c]; !known {
				nearest[c] = uint8(to.Palette.Index(c))
			}
			to.SetColorIndex(x, y, nearest[c])
		}
	}
	var out bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestCompression}
	err = e.Encode(&out, to)
	return out.Bytes(), err == nil
}

func mostOf(times map[color.RGBA]int, count int) (p color.Palette) {
	for len(p) < count && len(times) > 0 {
		var most color.RGBA
		n := 0
		for c, k := range times {
			if k > n {
				most, n = c, k
			}
		}
		p = append(p, most)
		delete(times, most)
	}
	return p
}

// atWork gives a server a day's data, and producers that go on until the test ends.
func atWork(t *testing.T, s *proc.Server) {
	t.Helper()
	for _, topic := range []string{
		`{"name":"orders","partitions":6}`, `{"name":"payments","partitions":4,"ttl_ms":604800000}`, `{"name":"shipments","partitions":3}`,
		`{"name":"page-views","partitions":8,"ttl_ms":86400000}`, `{"name":"prices","partitions":2,"mode":"rocket"}`,
	} {
		post(t, s, "/broker/topics", topic)
	}
	for _, key := range []string{"checkout/currency", "checkout/express", "theme/colour", "theme/font", "limits/basket"} {
		post(t, s, "/kv/settings/"+key, `{"value":"`+key+`","by":"ana"}`)
	}
	for part := range 6 {
		post(t, s, "/broker/commit", fmt.Sprintf(`{"topic":"orders","group":"billing","partition":%d,"offset":0}`, part))
	}
	post(t, s, "/broker/groups/warehouse/join", `{"member":"picker-1","topics":["orders","shipments"],"session_ms":300000}`)
	for topic, perSecond := range map[string]int{"orders": 90, "payments": 60, "page-views": 300, "prices": 120} {
		go produceUntil(t.Context(), s.Connect(t), topic, perSecond)
	}
}

// produceUntil is a producer with a rate that wanders.
func produceUntil(ctx context.Context, c *proc.Client, topic string, perSecond int) {
	countries := []string{"DE", "FR", "IT", "PT", "NO", "JP"}
	for i := 0; ctx.Err() == nil; i++ {
		body := fmt.Sprintf(`{"id":%d,"country":%q,"amount":%d.%02d,"items":%d}`, 10000+i, countries[rand.IntN(6)], rand.IntN(400), rand.IntN(100), 1+rand.IntN(9))
		key := fmt.Sprintf("customer-%d", rand.IntN(900))
		if _, err := c.Post("/broker/topics/"+topic+"/produce?key="+key+partition(i, topic), []byte(body)); err != nil {
			return
		}
		time.Sleep(time.Duration(float64(time.Second) / float64(perSecond) * (0.3 + 1.4*rand.Float64())))
	}
}

// partition has every other order in partition 0, which is the one in the picture.
func partition(i int, topic string) string {
	if topic == "orders" && i%2 == 0 {
		return "&partition=0"
	}
	return ""
}
