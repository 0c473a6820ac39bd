package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The picture is a frame with a grid, one polyline per distribution, and the names
// below. Everything is placed by chart.place; colours of lines are attributes, all
// other colours come from the style sheet, so that the mode can change them.

// The picture's measures, in SVG units.
const (
	width, height            = 860, 460
	left, right, top, bottom = 78, 40, 46, 92
	legendColumn             = 190
	legendColumns            = 4
)

// colours are the ones of Okabe and Ito, which stay apart for colour-blind readers
// and on light as on dark ground.
var colours = [linesMax]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#8c6bb1"}

// style follows the mode of whoever looks at it.
const style = `
  .ground { fill: #ffffff }
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 }
    text { fill: #e6edf3 }
    .grid { stroke: #30363d }
  }
`

// chart is a picture about to be written.
type chart struct {
	title string
	lines []line
	x     int // nines at the right edge
	y     axis
}

// newChart chooses axes that hold every line.
func newChart(title string, lines []line, linear bool) *chart {
	c := &chart{title: title, lines: lines, x: 1}
	low, high := math.Inf(1), 0.0
	for _, l := range lines {
		for _, p := range l.points {
			low, high = min(low, p.Value), max(high, p.Value)
			c.x = max(c.x, int(math.Ceil(nines(p))))
		}
	}
	c.y = newAxis(low, high, linear)
	return c
}

// place turns nines and ms into picture coordinates.
func (c *chart) place(nines, ms float64) (x, y float64) {
	x = left + (width-left-right)*clamp(nines/float64(c.x))
	y = top + (height-top-bottom)*(1-c.y.at(ms))
	return x, y
}

// svg writes the picture.
func (c *chart) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", html.EscapeString(c.title), style)
	fmt.Fprintf(&b, `<rect class="ground" width="%d" height="%d"/>`+"\n", width, height)
	label(&b, "title", "middle", width/2, 26, c.title)
	c.grid(&b)
	for i, l := range c.lines {
		c.draw(&b, l, colours[i])
		c.legend(&b, i, l.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// grid draws both axes' ticks through the whole picture, and names them.
func (c *chart) grid(b *strings.Builder) {
	for n := range c.x + 1 {
		x, _ := c.place(float64(n), 0)
		segment(b, x, top, x, height-bottom)
		label(b, "", "middle", x, height-bottom+18, ninesLabel(n))
	}
	for _, v := range c.y.ticks {
		_, y := c.place(0, v)
		segment(b, left, y, width-right, y)
		label(b, "", "end", left-8, y+4, millis(v))
	}
	label(b, "", "middle", (left+width-right)/2, height-bottom+36, "percentile of requests")
}

// draw is one distribution. Files step a little past the last value's own
// percentile before they end at 100 %, whose place must not be left of that.
func (c *chart) draw(b *strings.Builder, l line, colour string) {
	fmt.Fprintf(b, `<polyline class="line" stroke="%s" points="`, colour)
	furthest := 0.0
	for i, p := range l.points {
		furthest = max(furthest, nines(p))
		x, y := c.place(furthest, p.Value)
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(b, "%.1f,%.1f", x, y)
	}
	b.WriteString("\"/>\n")
}

// legend is the name below the picture.
func (c *chart) legend(b *strings.Builder, index int, name string) {
	x := float64(left + legendColumn*(index%legendColumns))
	y := float64(height - 32 + 20*(index/legendColumns))
	fmt.Fprintf(b, `<line class="line" stroke="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", colours[index], x, y-4, x+22, y-4)
	label(b, "", "start", x+28, y, name)
}

func segment(b *strings.Builder, x1, y1, x2, y2 float64) {
	fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", x1, y1, x2, y2)
}

func label(b *strings.Builder, class, anchor string, x, y float64, text string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(b, `<text%s text-anchor="%s" x="%.1f" y="%.1f">%s</text>`+"\n", class, anchor, x, y, html.EscapeString(text))
}
